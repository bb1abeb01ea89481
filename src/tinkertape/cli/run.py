"""`tinkertape run`: a program, recorded, with no change to it; the report at the end.

Click is out of the way before the program begins: the command hands back what is to be done, and this process becomes
an interpreter that does it (`recorded.py`, `importlib_bootstrap.py`). The program's output, exit status and way of
dying are Python's own (`program.py`); stdout is the program's alone. What of ours fails is left out, and changes
nothing.
"""

from __future__ import annotations

import re

import click
from click.shell_completion import CompletionItem

from tinkertape.cli.program import Program, program_at
from tinkertape.cli.recorded import Recorded


def _files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [] if context.params.get("module") and parameter.name == "program" else [CompletionItem(incomplete, "file")]


class _AsPython(click.Command):
    """`-mMODULE` is `-m MODULE`, as Python reads it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for place, argument in enumerate(args):
            if args[place - 1 : place] == ["--name"]:
                continue
            if module := re.fullmatch(r"(-q*m)(.*)", argument):
                args = [*args[:place], *filter(None, module.groups()), *args[place + 1 :]]
                break
            if not argument.startswith("-"):
                break  # the program, and what follows is its own
        return super().parse_args(ctx, args)


@click.command(cls=_AsPython, context_settings={"allow_interspersed_args": False})
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module's name, as in python -m.")
@click.option(
    "--name", metavar="NAME", help="What the run is called; without it TINKERTAPE_NAME, else the script's name."
)
@click.option("-q", "--quiet", is_flag=True, help="No report at the end, and no word before it.")
@click.argument("program", metavar="SCRIPT|MODULE", shell_complete=_files)
@click.argument("arguments", metavar="[ARGS]…", nargs=-1, type=click.UNPROCESSED, shell_complete=_files)
def command(module: bool, name: str | None, quiet: bool, program: str, arguments: tuple[str, ...]) -> Recorded:
    """Run a Python program and record it, with no change to the program.

    Output, exit status, signals and tracebacks are as with plain python; the report goes to stderr when it ends. On a
    terminal, what is found is said there at once. The script's name is recorded, not its arguments or environment.

    \b
    tinkertape run train.py --epochs 3
    tinkertape run --name lora-31 -m experiments.train
    """
    if module:
        return Recorded(Program("module", program, arguments), name, quiet)
    try:
        return Recorded(program_at(program, arguments), name, quiet)
    except OSError as error:
        raise click.UsageError(f"cannot run {program!r}: {error.strerror}") from error
