"""Where a failure was: read from the frames of a traceback, never from the words of its message."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from tinkertape.diagnosis.tracebacks import code_line

FAKE = '\n  File "fake.py", line 7, in nobody'
CHAIN = f"\n\nDuring handling of the above exception\n\nTraceback (most recent call last):{FAKE}\nValueError: no"


def raised(fail: Callable[[], object]) -> tuple[str, str]:
    """A traceback and its message."""
    try:
        fail()
    except Exception as error:  # noqa: BLE001  whatever the test raises
        return "".join(traceback.format_exception(error)), str(error)
    raise AssertionError


def fail_with(message: str) -> Callable[[], object]:
    def fail() -> None:
        raise ValueError(message)

    return fail


@pytest.mark.parametrize("message", ["plain", "", FAKE, f"words{FAKE}", f"words{CHAIN}", f"{CHAIN}{FAKE}\n"])
def test_a_message_cannot_fake_the_place(message: str) -> None:
    text, said = raised(fail_with(message))

    assert code_line(text, said).startswith("test_tracebacks.py:")


def test_without_the_message_frames_in_it_are_still_told_from_real_ones() -> None:
    text, _ = raised(fail_with(f"words{FAKE}"))

    assert code_line(text).startswith("test_tracebacks.py:")


def test_the_place_of_a_group_and_of_a_traceback_cut_short_is_known() -> None:
    def fail() -> None:
        raise ExceptionGroup("several", [ValueError("one")])

    assert code_line(*raised(fail)).startswith("test_tracebacks.py:")
    assert code_line('  File "/home/me/train.py", line 41, in step\n    step()\nValueError: no') == "train.py:41"
