"""The text of an exception is that of the standard library, letter by letter, and quicker the second time."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape import exception_text
from tinkertape.exception_text import text_of


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def deep(depth: int, then: Callable[[], Any]) -> Any:
    return then() if depth == 0 else deep(depth - 1, then)


def raises(error: BaseException | type[BaseException]) -> Any:
    raise error


def chained(suppressed: bool) -> None:
    try:
        deep(1, lambda: {}["missing"])
    except KeyError as error:
        if suppressed:
            raise ValueError("after") from None
        raise ValueError("after") from error


def meanwhile() -> None:
    try:
        json.loads("{x")
    except ValueError:
        int("y")


def noted() -> None:
    error = OSError(2, "no such thing", "/there")
    error.add_note("a note\nof two lines")
    raise error


def circular() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    raise first


def group() -> None:
    raise ExceptionGroup("several", [ValueError("a"), ExceptionGroup("more", [KeyError("b")])])


def after_a_group() -> None:
    try:
        group()
    except ExceptionGroup as error:
        raise RuntimeError("outer") from error


CASES: dict[str, Callable[[], Any]] = {
    "plain": lambda: raises(ValueError("x")),
    "no words": lambda: raises(ValueError),
    "fails to say": lambda: raises(Wordless()),
    "several lines": lambda: raises(ValueError("a\nb\n")),
    "caused": lambda: chained(False),
    "cause hidden": lambda: chained(True),
    "meanwhile": meanwhile,
    "noted": noted,
    "circular": circular,
    "group": group,
    "after a group": after_a_group,
    "name": lambda: eval("prnt"),
    "attribute": lambda: [].apend,  # type: ignore[attr-defined]
    "syntax": lambda: compile("a b", "<here>", "exec"),
    "import": lambda: __import__("no_such_module"),
    "no source": lambda: exec("1 / 0"),
    "three alike": lambda: deep(3, lambda: 1 // 0),
    "four alike": lambda: deep(4, lambda: 1 // 0),
    "recursion": lambda: deep(10_000, lambda: None),
    "interrupt": lambda: raises(KeyboardInterrupt),
    "asyncio": lambda: asyncio.run(asyncio.wait_for(asyncio.sleep(5), 0.001)),
}


def raised_by(fail: Callable[[], Any]) -> BaseException:
    try:
        fail()
    except BaseException as error:  # noqa: BLE001  interrupts, too
        return error
    raise AssertionError("it did not fail")


def of_the_library(error: BaseException, trace: TracebackType | None = None) -> str:
    return "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))


@pytest.mark.parametrize("case", CASES)
def test_the_text_is_that_of_the_standard_library(case: str) -> None:
    for _ in range(2):  # the second time from what is remembered
        error = raised_by(CASES[case])

        assert text_of(error) == of_the_library(error)
        assert text_of(error, error.__traceback__ and error.__traceback__.tb_next) == of_the_library(
            error, error.__traceback__ and error.__traceback__.tb_next
        )


def test_an_exception_that_was_never_raised_has_its_last_line() -> None:
    assert text_of(ValueError("x")) == "ValueError: x\n"


@given(st.lists(st.sampled_from(["raise", "cause", "context", "hide", "deeper", "note"]), max_size=8))
def test_the_text_of_any_chain_is_that_of_the_standard_library(steps: list[str]) -> None:
    def fail(number: int) -> None:
        if number == len(steps):
            raise ValueError(f"at {number}")
        step = steps[number]
        if step == "deeper":
            return fail(number + 1)
        try:
            fail(number + 1)
        except ValueError as error:
            if step == "note":
                error.add_note(f"note {number}")
            if step in ("raise", "note"):
                raise
            made = ValueError(f"again at {number}")
            if step == "context":
                raise made  # noqa: B904  on purpose
            raise made from (error if step == "cause" else None)

    error = raised_by(lambda: fail(0))

    assert text_of(error) == of_the_library(error)


def test_with_a_limit_of_the_program_the_text_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    error = raised_by(CASES["plain"])
    monkeypatch.setattr("sys.tracebacklimit", 1, raising=False)

    assert text_of(error) == of_the_library(error)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exception_text, "PARTS_MAX", 5)
    for number in range(20):
        namespace: dict[str, Any] = {}
        exec(compile(f"def fail():\n    raise ValueError({number})", f"made {number}", "exec"), namespace)
        error = raised_by(namespace["fail"])

        assert text_of(error) == of_the_library(error)
        assert len(exception_text._parts) <= 5
