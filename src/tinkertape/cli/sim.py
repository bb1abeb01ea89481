"""`tinkertape sim`: the simulated Tinker service on loopback, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from tinkertape.cli.extras import SIMULATED_SERVICE, must_be_installed


@click.command()
@click.option("--port", default=8289, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--scenario",
    default="demo",
    show_default=True,
    help="What goes wrong: demo, healthy, user-error, faults by name with commas between, or a TOML file.",
)
@click.option("--seed", type=int, help="Moves every fault and every random number.")
@click.option(
    "--truth", type=click.Path(dir_okay=False, path_type=Path), help="Write what it really did, as JSON lines."
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep in this folder, and read from it, what clients make: sessions, runs, checkpoints.",
)
def command(port: int, scenario: str, seed: int | None, truth: Path | None, state: Path | None) -> int:
    """A simulated Tinker service on loopback: no key, no network, no GPU. Says where it listens, and ends with Ctrl-C.

    \b
    tinkertape sim --port 8289
    TINKER_BASE_URL=http://127.0.0.1:8289 TINKER_API_KEY=tml-any python train.py
    """
    must_be_installed("the simulated service", SIMULATED_SERVICE, "server")
    from tinkertape.sim import SimError, choose_scenario, serve  # noqa: PLC0415  the extra [server]

    try:
        chosen = choose_scenario(scenario, seed)
    except SimError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from error
    try:
        serve(chosen, host="127.0.0.1", port=port, truth=truth, state=state)
    except SimError as error:
        raise click.ClickException(str(error)) from error
    return 0
