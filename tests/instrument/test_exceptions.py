"""What nobody catches is told, once, and every hook of the program and every word of Python is as before."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.instrument.watching import Events, installed

import tinkertape
from tinkertape.guard import failures
from tinkertape.instrument import exceptions

HOOKS = ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the program's own hooks are called with."""
    said: list[Any] = []
    for owner, name in HOOKS:
        monkeypatch.setattr(owner, name, lambda *arguments: said.append(arguments))
    return said


@pytest.fixture
def heard(said: list[Any]) -> Iterator[Events]:
    with installed(exceptions) as events:
        yield events
    assert failures() == {}


def hooks() -> list[Any]:
    return [getattr(owner, name) for owner, name in HOOKS] + [vars(asyncio.BaseEventLoop)["call_exception_handler"]]


def fail_in_thread(error: BaseException, name: str = "worker") -> None:
    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    thread.join()


def test_uninstall_gives_back_the_very_same_hooks_and_twice_is_once(said: list[Any]) -> None:
    before = hooks()

    exceptions.install()
    once = hooks()
    exceptions.install()
    assert all(now is then for now, then in zip(hooks(), once, strict=True))
    assert all(now is not then for now, then in zip(once, before, strict=True))
    exceptions.uninstall()
    exceptions.uninstall()

    assert all(now is then for now, then in zip(hooks(), before, strict=True))


def test_a_hook_of_ours_below_another_only_passes_on_after_uninstall(said: list[Any], heard: Events) -> None:
    ours = threading.excepthook
    threading.excepthook = lambda arguments: ours(arguments)
    exceptions.uninstall()

    fail_in_thread(ValueError("late"))

    assert len(said) == 1
    assert [event.name for event in heard] == []


def test_a_thread_that_dies_is_told_and_the_programs_hook_still_called(said: list[Any], heard: Events) -> None:
    error = ValueError("in a thread")

    fail_in_thread(error)

    [event] = heard
    assert event.name == "exception.thread"
    assert event.metadata["exception_message"] == "in a thread"
    assert event.metadata["thread_name"] == "worker"
    assert "raise error" in event.metadata["traceback"]
    assert [arguments[0].exc_value for arguments in said] == [error]


def test_a_thread_that_exits_or_is_ours_is_not_told(said: list[Any], heard: Events) -> None:
    fail_in_thread(SystemExit(3))
    fail_in_thread(ValueError("ours"), name="tinkertape-writer")

    assert heard == []
    assert len(said) == 2


def test_what_cannot_be_raised_is_told_as_a_warning(said: list[Any], heard: Events) -> None:
    class Falls:
        def __del__(self) -> None:
            raise KeyError("in del")

        def __repr__(self) -> str:
            raise AssertionError("nobody may ask")

    del [Falls()][0]
    gc.collect()

    [event] = heard
    assert (event.name, event.metadata["exception_type"]) == ("exception.unraisable", "KeyError")
    assert event.metadata["where"].endswith("Falls.__del__")
    assert len(said) == 1


def test_a_task_that_nobody_awaits_is_told_and_the_loops_handler_called(heard: Events) -> None:
    contexts: list[dict[str, Any]] = []

    async def fail() -> None:
        raise RuntimeError("unseen")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
        task = asyncio.create_task(fail(), name="the-task")
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())

    [event] = heard
    assert (event.name, event.metadata["task"]) == ("exception.asyncio", "the-task")
    assert event.metadata["message"] == "Task exception was never retrieved"
    assert [str(context["exception"]) for context in contexts] == ["unseen"]


def test_what_a_decorator_told_is_not_told_again_by_a_hook(heard: Events) -> None:
    @tinkertape.capture_exceptions
    def inner() -> None:
        raise ValueError("once")

    @tinkertape.capture_exceptions
    def outer() -> None:
        inner()

    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()

    assert [event.name for event in heard] == ["exception.inner"]


def run(program: str, directory: Path, install: bool) -> subprocess.CompletedProcess[bytes]:
    script = directory / "program.py"
    script.write_text(program)
    begin = "import tinkertape; tinkertape.instrument.exceptions.install(); " if install else ""
    code = f"{begin}import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TINKERTAPE_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "TINKERTAPE_DIRECTORY": str(directory)},
        capture_output=True,
        timeout=60,
    )


EVERYTHING_FAILS = """
import asyncio, gc, sys, threading
HOOK
class Falls:
    def __del__(self):
        raise KeyError("del")
async def fail():
    raise RuntimeError("task")
async def main():
    task = asyncio.create_task(fail(), name="t")
    await asyncio.wait([task])
def thread():
    raise OSError("thread")
Falls()
asyncio.run(main())
gc.collect()
worker = threading.Thread(target=thread, name="w")
worker.start()
worker.join()
raise ValueError("the end")
"""
FAILING_HOOK = "def hook(*_): raise TypeError('in the hook')\nsys.excepthook = hook"
OWN_HOOK = "sys.excepthook = lambda kind, error, trace: print('own', kind, error, trace.tb_lineno)"


@pytest.mark.parametrize("hook", ["", OWN_HOOK, FAILING_HOOK, "del sys.excepthook"])
def test_what_a_failing_program_says_is_byte_for_byte_as_before(tmp_path: Path, hook: str) -> None:
    program = EVERYTHING_FAILS.replace("HOOK", hook)

    plain, installed = run(program, tmp_path, install=False), run(program, tmp_path, install=True)

    assert installed.returncode == plain.returncode == 1
    assert installed.stdout == plain.stdout
    assert without_addresses(installed.stderr) == without_addresses(plain.stderr)


def without_addresses(raw: bytes) -> list[bytes]:
    """Lines, each address of an object replaced: it is another one in every process."""
    return re.sub(rb"0x[0-9a-f]+", b"0x", raw).splitlines()


@pytest.mark.parametrize("decorated", [False, True])
def test_what_ends_the_program_is_one_unhandled_exception_on_the_tape(tmp_path: Path, decorated: bool) -> None:
    decorator = "@tinkertape.capture_exceptions(fatal=True)" if decorated else ""
    done = run(
        f"""
import tinkertape
tinkertape.start(instrument=False)
{decorator}
def last():
    raise ValueError("the end")
last()
""",
        tmp_path,
        install=True,
    )

    lines = [json.loads(line) for path in tmp_path.rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    fatal = [line for line in lines if line.get("event") == "UNHANDLED_EXCEPTION"]
    assert done.returncode == 1
    assert [line["metadata"].get("recorded_as") for line in fatal] == ["exception.last" if decorated else None]
    assert [line["metadata"]["status"] for line in lines if line.get("event") == "SESSION_END"] == ["errored"]
