"""What cannot be seen is written out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tinkertape.dashboard.tape_lines import tape_line
from tinkertape.dashboard.text import LONGEST, glued, prose, visible


@given(st.text(alphabet=st.characters(codec=None)))
def test_every_text_can_be_carried_by_a_page(text):
    shown = visible(text)

    assert shown.encode("utf-8").decode("utf-8") == shown


def test_marks_that_turn_text_around_are_written_out():
    assert visible("a\u202eb\u2066c") == "a\\u202eb\\u2066c"


def test_a_text_without_end_is_cut_and_says_how_much_is_missing():
    shown = visible("x" * (LONGEST + 7))

    assert shown.endswith("… (7 more characters)") and len(shown) < LONGEST + 40


def test_code_between_backticks_is_an_element_and_the_rest_is_escaped():
    assert prose("run `a<b>` & go") == "run <code>a&lt;b&gt;</code> &amp; go"


def test_the_backticks_of_a_message_that_is_quoted_stay():
    assert prose("`sample` failed: “no `rows` left”, see `a.py`") == (
        "<code>sample</code> failed: “no `rows` left”, see <code>a.py</code>"
    )
    assert prose("“ `a` `b") == "“ <code>a</code> `b"


def test_a_line_never_ends_between_step_and_its_number():
    said = glued("slower in steps 9 to 14, and since step 20, step by step")

    assert said == "slower in steps\u00a09 to 14, and since step\u00a020, step by step"


def test_a_lone_backtick_stays_one():
    assert prose("a ` b") == "a ` b"


@settings(max_examples=40)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists)))
def test_any_object_is_a_line_of_the_tape(event):
    line = tape_line(event)

    assert "\n" not in line.detail


def test_a_line_of_the_tape_says_what_matters_first():
    event = {
        "event_name": "tinker.http.request.stop",
        "timestamp": "2026-11-24T02:04:11.5Z",
        "measurements": {"duration": 28_000_000, "monotonic_time": 5},
        "metadata": {
            "status": "success",
            "method": "POST",
            "path": "/api/v1/forward",
            "status_code": 200,
            "extra": "x",
        },
    }

    assert tape_line(event).detail == "28\u202fms  POST  /api/v1/forward  200  extra x"
