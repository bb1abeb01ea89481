"""What `tinkertape run` records, says and leaves alone. (`test_program.py` holds it against plain Python.)"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import TINKERTAPE, Run, call, environment
from tests.waiting import wait_until

LOGS = "import tinkertape; print('out'); tinkertape.get_telemetry().log('my.event', {'rows': 3})\n"
ON_TAPE = "import os, signal, tinkertape; tinkertape.get_telemetry().flush()"  # as the writer does every 50 ms


def script(directory: Path, source: str = LOGS, name: str = "train.py") -> str:
    path = directory.parent / name
    path.write_text(source)
    return str(path)


def tape_text(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.rglob("*.jsonl"))


def listed(tinkertape: Run) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(tinkertape("runs", "--json").stdout)
    return rows


def test_the_report_is_on_stderr_and_stdout_is_the_programs(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory))

    assert (ran.returncode, ran.stdout) == (0, "out\n")
    assert "Ledger" in ran.stderr and "train" in ran.stderr


def test_quiet_says_nothing(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", "--quiet", script(directory))

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "out\n", "")
    assert '"my.event"' in tape_text(directory)


def test_a_run_is_named_by_the_option_else_the_setting_else_the_script(tinkertape: Run, directory: Path) -> None:
    tinkertape("run", "-q", script(directory))
    tinkertape("run", "-q", script(directory), TINKERTAPE_NAME="from-environment")
    tinkertape("run", "-q", "--name", "given", script(directory), TINKERTAPE_NAME="from-environment")

    assert [row["name"] for row in listed(tinkertape)] == ["given", "from-environment", "train"]


def test_neither_arguments_nor_environment_are_recorded(tinkertape: Run, directory: Path) -> None:
    tinkertape("run", "-q", script(directory), "--token", "sesame-argument", OPEN="sesame-environment")

    assert "sesame" not in tape_text(directory)


def test_an_uncaught_exception_is_on_the_tape_without_our_frames(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", "-q", script(directory, "def inner(): raise LookupError('the words')\ninner()\n"))

    assert ran.returncode == 1
    assert [row["state"] for row in listed(tinkertape)] == ["failed"]
    [event] = [json.loads(line) for line in tape_text(directory).splitlines() if "UNHANDLED_EXCEPTION" in line]
    assert "the words" in json.dumps(event) and "train.py" in json.dumps(event)
    assert "tinkertape/cli" not in json.dumps(event)


def test_the_states_of_runs_that_end_in_other_ways(tinkertape: Run, directory: Path) -> None:
    tinkertape("run", "-q", script(directory, "raise KeyboardInterrupt"))
    tinkertape("run", "-q", script(directory, "import sys; sys.exit(3)"))
    tinkertape("run", "-q", script(directory, f"{ON_TAPE}; os.kill(os.getpid(), signal.SIGKILL)"))

    assert [row["state"] for row in listed(tinkertape)] == ["killed", "failed", "ended"]


def test_what_was_logged_shortly_before_a_kill_is_on_the_tape(tinkertape: Run, directory: Path) -> None:
    source = f"{LOGS}{ON_TAPE}; os.kill(os.getpid(), signal.SIGKILL)"

    ran = tinkertape("run", script(directory, source))

    assert ran.returncode == -signal.SIGKILL
    assert '"my.event"' in tape_text(directory)


def test_a_program_that_dies_of_sigterm_was_interrupted_and_its_tape_is_whole(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory, f"{LOGS}import os, signal; os.kill(os.getpid(), signal.SIGTERM)"))

    assert (ran.returncode, ran.stderr) == (-signal.SIGTERM, "")
    assert '"my.event"' in tape_text(directory)
    shown = json.loads(tinkertape("show", "last", "--json").stdout)
    assert (shown["state"], shown["status"], shown["exit_status"]) == ("ended", "interrupted", 143)
    assert "It was interrupted by SIGTERM." in shown["verdict"]["under"]
    ledger = shown["ledger"]
    assert ledger["recorded"] == ledger["pending"] + sum(ledger["dropped"].values())


@pytest.mark.parametrize(
    ("last", "exit_status", "said"),
    [
        ("import sys; sys.exit(3)", 3, "× failed, exit status 3"),
        ("raise ValueError('x')", 1, "× failed, exit status 1"),
        ("raise KeyboardInterrupt", 130, "✓ ended, exit status 130"),
        ("", 0, "✓ ended  ·"),
    ],
)
def test_the_exit_status_is_on_the_tape_for_whoever_reads_it_later(
    last: str, exit_status: int, said: str, tinkertape: Run, directory: Path
) -> None:
    tinkertape("run", "-q", script(directory, last))

    assert json.loads(tinkertape("show", "last", "--json").stdout)["exit_status"] == exit_status
    assert said in tinkertape("show", "last").stdout


def test_without_a_collector_the_program_is_the_same_and_the_tape_waits(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", "-q", script(directory), TINKERTAPE_URL="http://127.0.0.1:9")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "out\n", "")
    assert '"my.event"' in tape_text(directory)


def test_a_folder_that_cannot_be_made_is_told_in_one_line_and_the_program_runs(
    tinkertape: Run, directory: Path
) -> None:
    directory.write_text("a file where the folder should be")

    ran = tinkertape("run", script(directory, "print('out')"))

    assert (ran.returncode, ran.stdout) == (0, "out\n")
    assert ran.stderr.startswith("tinkertape: not recorded: ") and ran.stderr.count("\n") == 1
    quiet = tinkertape("run", "-q", script(directory, "print('out')"))
    assert quiet.stderr.startswith("tinkertape: not recorded: ") and quiet.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("-q",)])
@pytest.mark.parametrize("setting", ["foo", "ftp://x", "http://", "http://x:port"])
def test_an_address_that_is_none_is_told_before_the_program_begins_and_the_tape_waits(
    options: tuple[str, ...], setting: str, tinkertape: Run, directory: Path
) -> None:
    begins = "import sys; sys.stderr.write('the program\\n')"

    ran = tinkertape("run", *options, script(directory, begins), TINKERTAPE_URL=setting)

    assert ran.returncode == 0
    first, second, *_ = ran.stderr.splitlines()
    assert first.startswith(f"tinkertape: cannot use '{setting}' as a collector's address")
    assert first.endswith("the tape waits for a collector") and second == "the program"
    assert "telemetry.session.stop" in tape_text(directory)


def test_a_folder_that_goes_away_leaves_one_line_and_no_traceback(tinkertape: Run, directory: Path) -> None:
    away = f"{LOGS}import os, shutil; shutil.rmtree(os.environ['TINKERTAPE_DIRECTORY'] + '/tapes')"
    ran = tinkertape("run", script(directory, f"{away}; open(os.environ['TINKERTAPE_DIRECTORY'] + '/tapes', 'w')"))

    assert (ran.returncode, ran.stdout) == (0, "out\n")
    assert "Traceback" not in ran.stderr and "tinkertape: no report: " in ran.stderr


def test_switched_off_nothing_is_written(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory, "print('out')"), TINKERTAPE_OFF="1")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "out\n", "")
    assert not directory.exists()


def test_a_script_that_does_not_exist_is_one_line_and_status_2(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", "no-such.py")

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("tinkertape: cannot run 'no-such.py': No such file") and ran.stderr.count("\n") == 1
    assert not directory.exists()


def test_ctrl_c_in_a_running_program_kills_it_as_python_would_and_is_reported(directory: Path) -> None:
    path = script(directory, "print('ready', flush=True)\nimport time\nwhile True: time.sleep(0.01)\n")
    command = [*TINKERTAPE, "run", path]
    with subprocess.Popen(
        command, env=environment(directory), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)

    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt\n" in stderr and "Ledger" in stderr


def test_a_program_that_forks_reports_once(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory, "import os, sys\nif os.fork() == 0: sys.exit(0)\nos.wait()\n"))

    assert ran.returncode == 0
    assert ran.stderr.count("Ledger") == 1


def test_a_module_beside_the_script_is_not_taken_for_one_of_the_reports(tinkertape: Run, directory: Path) -> None:
    (directory.parent / "rich.py").write_text("print('not this one')")

    ran = tinkertape("run", script(directory))

    assert ran.stdout == "out\n"
    assert "Ledger" in ran.stderr


def test_the_tape_grows_while_the_program_runs(directory: Path) -> None:
    path = script(directory, f"{LOGS}input()\n")
    with subprocess.Popen(
        [*TINKERTAPE, "run", "-q", path], env=environment(directory), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: directory.exists() and '"my.event"' in tape_text(directory))
        rows = json.loads(call([*TINKERTAPE, "runs", "--json"], directory).stdout)
        process.communicate(b"\n")

    assert [row["state"] for row in rows] == ["running"]


def test_the_console_script_and_the_module_are_the_same_command(directory: Path) -> None:
    script_beside_python = Path(sys.executable).with_name("tinkertape")

    said = [
        call(command, directory).stdout for command in ([str(script_beside_python), "--help"], [*TINKERTAPE, "--help"])
    ]

    assert said[0] == said[1] and "tinkertape demo" in said[0]


FULL = """
import resource, tinkertape
telemetry = tinkertape.get_telemetry()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # the disk's answer is the same as from a full one
for number in range(5_000): telemetry.log("my.event", {"number": number, "words": 50 * "x"})
"""


def unwrapped(text: str) -> str:
    """The text with its lines joined: a report wraps at the terminal's width."""
    return re.sub(r"\s*\n\s*", " ", text)


def test_on_a_full_disk_the_ledger_is_true_and_one_line_says_what_was_lost(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory, FULL))

    assert ran.returncode == 0
    said = re.search(r"^tinkertape: the disk is full: (\d \d{3}) events were not recorded$", ran.stderr, re.MULTILINE)
    ledger = re.search(
        r"([\d ]+) recorded = 0 stored \+ ([\d ]+) pending .* \+ ([\d ]+) dropped \(.*disk_full", unwrapped(ran.stderr)
    )
    assert said and ledger, ran.stderr
    recorded, pending, lost = (int(figure.replace(" ", "")) for figure in ledger.groups())
    assert recorded > 5_000 and recorded == pending + lost
    assert 0 < int(said[1].replace(" ", "")) <= lost
    assert "ended" in ran.stderr and "running" not in ran.stderr


def test_a_disk_that_was_full_from_the_start_is_told_with_a_true_ledger(directory: Path) -> None:
    command = ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *TINKERTAPE, "run", script(directory)]

    ran = call(command, directory)

    assert (ran.returncode, ran.stdout) == (0, "out\n")
    assert re.search(r"^tinkertape: the disk is full: (\d+) events were not recorded$", ran.stderr, re.MULTILINE)
    assert re.search(
        r"Ledger   (\d+) recorded = 0 stored \+ 0 pending .* \+ \1 dropped \(.*disk_full", unwrapped(ran.stderr)
    ), ran.stderr
    assert "train  ·  ✓ ended" in ran.stderr and "Traceback" not in ran.stderr


def test_quiet_still_says_that_the_disk_is_full(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", "-q", script(directory, FULL))

    assert ran.stderr.startswith("tinkertape: the disk is full: ") and ran.stderr.count("\n") == 1


def test_the_exit_status_that_a_program_asked_for_is_in_the_report(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory, "import sys; sys.exit(3)"))

    assert ran.returncode == 3
    assert "\n× Failed." in ran.stderr and "× failed, exit status 3" in ran.stderr and "✓" not in ran.stderr


INTERRUPTED_IN = """
import os, signal, sys, {module} as module
original = module.{name}
def interrupted(self, *arguments):
    os.kill(os.getpid(), signal.SIGINT)
    return original(self, *arguments)
module.{name} = interrupted
"""


@pytest.mark.parametrize(
    ("place", "last", "status", "quiet"),
    [
        (("tinkertape.telemetry", "Telemetry.end"), "", 0, False),
        (("tinkertape.telemetry", "Telemetry.end"), "raise KeyboardInterrupt", -signal.SIGINT, False),
        (("tinkertape.telemetry", "Telemetry.end"), "", 0, True),
        (("tinkertape.cli.tapes", "TapesSource.report"), "sys.exit(3)", 3, False),
    ],
    ids=["while the tape is closed", "of an interrupted program", "quietly", "while the report is made"],
)
def test_ctrl_c_after_the_program_skips_the_report_and_nothing_else(
    place: tuple[str, str], last: str, status: int, quiet: bool, tinkertape: Run, directory: Path
) -> None:
    source = INTERRUPTED_IN.format(module=place[0], name=place[1]) + last

    ran = tinkertape("run", *["-q"] * quiet, script(directory, source))

    [row] = listed(tinkertape)
    said = [line for line in ran.stderr.splitlines() if not re.match(r"Traceback|  |KeyboardInterrupt$", line)]
    skipped = f'tinkertape: no report, for Ctrl-C skipped it: "tinkertape show {row["run"]}" prints it'
    assert (ran.returncode, said) == (status, [] if quiet else [skipped])
    assert row["state"] == ("failed" if status == 3 else "ended")


def test_the_ctrl_c_that_ends_the_program_does_not_skip_the_report(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory, "import os, signal; os.kill(os.getpid(), signal.SIGINT)"))

    assert ran.returncode == -signal.SIGINT
    assert "It was interrupted by Ctrl-C." in ran.stderr and "Ledger" in ran.stderr


@pytest.mark.parametrize("last", ["raise SystemExit(3)", f"{ON_TAPE}; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_run_that_failed_or_was_killed_is_not_healthy(last: str, tinkertape: Run, directory: Path) -> None:
    tinkertape("run", "-q", script(directory, last))

    told = tinkertape("diagnose", "--json")

    assert (told.returncode, json.loads(told.stdout)["healthy"]) == (1, False)
    assert tinkertape("diagnose").stdout[0] in "×▨"


def test_the_page_is_named_only_where_a_collector_answers(tinkertape: Run, directory: Path) -> None:
    ran = tinkertape("run", script(directory), TINKERTAPE_URL="http://127.0.0.1:9")

    assert 'Page     no collector answers at http://127.0.0.1:9: "tinkertape serve"' in ran.stderr
    assert "/runs/" not in ran.stderr


def test_a_program_that_leaves_no_file_to_open_ends_as_without_us(tinkertape: Run, directory: Path) -> None:
    """Its report needs files; and glibc aborts where it finds none for what ends a thread with the interpreter."""
    no_file = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); print('out')"

    ran = tinkertape("run", script(directory, no_file))

    assert (ran.returncode, ran.stdout) == (0, "out\n"), ran.stderr
    assert "tinkertape: no report: " in ran.stderr and "libgcc" not in ran.stderr
