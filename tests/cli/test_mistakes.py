"""A mistake is one line that says what to do, with the right status; and the plain services of a command line."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import TINKERTAPE, Run, call, environment
from tests.cli.test_reading import record, without

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("demoo",), "no command 'demoo'; did you mean \"demo\"?"),
        (("train.py",), 'did you mean "tinkertape run train.py"?'),
        (("run",), "Missing argument"),
        (("run", "--nmae", "x", "train.py"), "--nmae"),
        (("show",), "Missing argument"),
        (("runs", "--limit", "none"), "'none' is not a valid integer"),
        (("events", "no.such"), "no event begins with 'no.such'"),
        (("serve", "--port", "70000"), "70000"),
        (("serve", "--host", "0.0.0.0"), "cannot listen on 0.0.0.0: only this machine"),
        (("serve", "--host", "example"), "cannot listen on example"),
        (("serve", "--store", "foo"), "'foo' is no store: use chdb:///"),
        (("sim", "--scenario", "nope"), "cannot read the scenario nope"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: tuple[str, ...], said: str, tinkertape: Run) -> None:
    failed = tinkertape(*arguments)

    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("tinkertape: ") and failed.stderr.count("\n") == 1
    assert said in failed.stderr


def test_a_collector_that_was_asked_for_must_answer(tinkertape: Run) -> None:
    failed = tinkertape("runs", "--url", "http://127.0.0.1:9")

    assert failed.returncode == 1
    assert failed.stderr.startswith("tinkertape: no collector answers at http://127.0.0.1:9; ")
    assert tinkertape("runs", "--url", "ftp://x").returncode == 2


def test_a_collector_that_is_away_leaves_the_tapes(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine")

    told = tinkertape("runs", TINKERTAPE_URL="http://127.0.0.1:9")

    assert (told.returncode, "mine" in told.stdout) == (0, True)
    assert told.stderr == "no collector answers at http://127.0.0.1:9: reading the tapes\n"


def test_without_click_one_line_says_what_to_install(directory: Path) -> None:
    failed = call([*TINKERTAPE, "runs"], directory, **without(directory, "click", "rich"))

    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("tinkertape: the command line needs click and rich")
    assert 'pip install "tinkertape[cli]"' in failed.stderr and failed.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "sim", "demo"])
def test_without_the_server_extra_one_line_says_what_to_install(command: str, directory: Path) -> None:
    failed = call([*TINKERTAPE, command], directory, **without(directory, "starlette", "chdb"))

    assert (failed.returncode, failed.stdout) == (1, "")
    assert "starlette" in failed.stderr and "pip install" in failed.stderr and failed.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("runs",), ("show", "last"), ("tail",), ("diagnose",), ("serve",)])
def test_a_file_where_the_folder_should_be_is_one_line(
    arguments: tuple[str, ...], tinkertape: Run, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    failed = tinkertape(*arguments, TINKERTAPE_DIRECTORY=str(tmp_path / "file"))

    assert (failed.returncode, failed.stdout) == (2, "")
    said = f"cannot use {tmp_path}/file: it is a file, not a folder; set TINKERTAPE_DIRECTORY to a folder"
    assert failed.stderr == f"tinkertape: {said}\n"


def test_a_reader_that_goes_away_is_no_error(directory: Path) -> None:
    command = [*TINKERTAPE, "events"]
    with subprocess.Popen(
        command, env=environment(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_every_command_has_a_help_text_with_an_example(tinkertape: Run) -> None:
    listed = tinkertape("--help").stdout
    for name in ("demo", "run", "serve", "sim", "runs", "show", "tail", "diagnose", "events"):
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE), name
        assert f"tinkertape {name}" in tinkertape(name, "--help").stdout.replace("Usage: tinkertape", "")


def test_the_version_is_the_packages(tinkertape: Run) -> None:
    assert re.fullmatch(r"tinkertape \d+\.\d+\.\d+\S*\n", tinkertape("--version").stdout)


def test_a_shell_completes_commands_and_runs(tinkertape: Run, directory: Path) -> None:
    record(directory, "lora-31")

    def completed(words: str, position: int) -> str:
        return tinkertape(_TINKERTAPE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position)).stdout

    assert "plain,diagnose" in completed("tinkertape d", 1)
    assert "plain,lora-31" in completed("tinkertape show lo", 2)
    assert completed("tinkertape run tr", 2) == "file,tr\n"
    assert completed("tinkertape run train.py da", 3) == "file,da\n"
    assert "complete" in tinkertape(_TINKERTAPE_COMPLETE="bash_source").stdout


def test_colour_is_for_terminals_and_no_color_is_honoured(tinkertape: Run, directory: Path) -> None:
    record(directory, "mine")

    assert "\x1b" not in tinkertape("show", "last").stdout
    assert COLOUR.search(on_a_terminal(directory, "show", "last"))
    plain = COLOUR.findall(on_a_terminal(directory, "show", "last", NO_COLOR="1"))
    assert not [code for code in plain if re.search(r"\b3[0-7]\b|\b9[0-7]\b|38;", code)]


def on_a_terminal(directory: Path, *arguments: str, **more: str) -> str:
    """What a command writes when its stdout is a terminal."""
    ours, theirs = pty.openpty()
    environ = environment(directory, TERM="xterm-256color", **more)
    with subprocess.Popen([*TINKERTAPE, *arguments], env=environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b"".join(_read(ours)).decode()
    os.close(ours)
    assert process.returncode == 0
    return text


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(descriptor, 65536)
        except OSError:  # EIO: the other side is closed
            return


def test_a_port_in_use_is_one_line(tinkertape: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("serve", "sim"):
            failed = tinkertape(command, "--port", port)
            assert (failed.returncode, failed.stdout) == (1, ""), command
            assert port in failed.stderr and failed.stderr.count("\n") == 1


def test_without_a_command_the_help_is_printed_line_by_line(tinkertape: Run) -> None:
    told = tinkertape()

    said = told.stdout + told.stderr  # click 8.2 and later: stderr and status 2, earlier: stdout and 0
    assert told.returncode in (0, 2)
    assert said == tinkertape("--help").stdout
    assert "\n  run " in said and "\\n" not in said and "\b" not in said
