"""The report in a terminal: the answer first, every figure with its quality, and nothing that steers the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rich.console import Console
from tests.cli.test_reading import HOSTILE, STEERING

from tinkertape.cli.render import print_diagnosis, print_report
from tinkertape.diagnosis.report import Report

WHOLE: dict[str, Any] = {
    "run": "01M87Z1M15ZH6MSYJFNAFKK70A", "name": "lora-31", "project": "default", "state": "failed",
    "status": "errored",
    "began": "2026-11-24T23:42:49.897Z", "ended": None, "wall_s": 100.0, "model": "m", "sdk_version": "0.38.0",
    "python": "3.11", "processes": 1, "sessions": ["s"], "events": 1234, "lost_s": 47.0, "over_s": 1.0,
    "verdict": {"owner": "service", "lead": "It is Tinker.", "sentence": "It paused.", "under": "Nothing to do."},
    "owners": [{"owner": "service", "seconds": 60.0, "share": 0.6, "role": "cause", "say": "The cause"},
               {"owner": "you", "seconds": 40.0, "share": 0.4, "role": "not", "say": "Not the cause"}],
    "parts": [{"part": "queue:capacity", "owner": "service", "seconds": 47.0, "share": 0.47, "quality": "bounded",
               "min_s": 45.0, "max_s": 47.0, "method": "polls"},
              {"part": "compute", "owner": "service", "seconds": 13.0, "share": 0.13, "quality": "inferred",
               "min_s": 1.0, "max_s": 14.0, "method": "history"},
              {"part": "your_code", "owner": "you", "seconds": 40.0, "share": 0.4, "quality": "measured", "min_s": 40.0,
               "max_s": 40.0, "method": ""}],
    "steps": [{"step": 1, "began_s": 0.0, "ended_s": 100.0, "wall_s": 100.0, "parts": {}, "over_s": 0.0,
               "failed": False, "open": False, "inferred": False, "loss": 1.0, "coverage": 1.0}],
    "steps_completed": 1, "usual_step_s": 3.0,
    "operations": [{"operation": "forward_backward", "family": "training", "count": 1200, "errors": 1, "open": 2,
                    "p50_s": 0.16, "p95_s": 1.0, "max_s": 47.0, "retries": 3, "polls": 5, "calls": []}],
    "spans": [],
    "pauses": [{"began_s": 3.0, "ended_s": None, "length_s": 47.0, "min_s": 45.0, "max_s": 47.5, "reason": "capacity",
                "text": "full", "operation": "forward_backward", "request_id": "r", "step": 1}],
    "errors": [{"owner": "you", "type": "RequestFailedError", "message": "too long", "status_code": 400,
                "category": "user", "operation": "forward_backward", "count": 2, "first_s": 1.0, "last_s": 2.0,
                "request_ids": ["r"], "step": None, "traceback": ""}],
    "retries": [{"at_s": 3.0, "operation": "optim_step", "layer": "http", "attempt": 1, "delay_s": 0.5,
                 "error_type": "InternalServerError", "status_code": 503}] * 11,
    "findings": [{"cause": "capacity-pause", "owner": "service", "severity": "warning", "confidence": 1.0,
                  "summary": "It paused.", "cost_s": 47.0, "share": 0.47, "evidence": {}, "advice": "Wait."}],
    "checked": ["user-error"],
    "ledger": {"recorded": 10, "stored": 7, "pending": 1, "rejected": 0, "dropped": {"exit": 1}},
    "loss": [],
}  # fmt: skip
FOUND = " (found by the rhythm of optim_step)"
FIXED = {"owner", "quality", "state", "severity", "role"}  # closed sets: another value is no report


def printed(report: Report, show: Callable[[Console, Report], None] = print_report, width: int = 120) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=width, markup=False, highlight=False, emoji=False), report)
    return stream.getvalue()


def hostile(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {(HOSTILE if key == "dropped" else name): hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, key) for item in value]
    return f"a{HOSTILE}b" if isinstance(value, str) and key not in FIXED else value


def test_the_answer_comes_first_and_every_figure_has_its_unit_and_quality() -> None:
    text = printed(msgspec.convert(WHOLE, Report))

    assert text.split("\n")[1] == "● It is Tinker. It paused."
    for words in (
        "lora-31  ·  × failed",
        "1 min 40 s in 1 step, usually 3.0 s each",
        "≤ 47.0 s",
        "bounded 45.0 to 47.0 s",
        "≈ 13.0 s",
        "inferred: history",
        "1 200 + 2 open",
        "≈ 47.0 s, to the end  45.0 to 47.5 s",
        "RequestFailedError 400 user (2 times)",
        "and 3 more",
        "capacity-pause  47.0 s, 47 %",
        "looked for and not seen: user-error",
        "10 recorded ≠ 7 stored + 1 pending + 0 rejected + 1 dropped (exit 1)",
    ):
        assert words in text, text


def test_a_part_whose_bounds_read_alike_is_not_called_bounded() -> None:
    parts = [{**WHOLE["parts"][0], "min_s": 46.98, "max_s": 47.03}]

    text = printed(msgspec.convert({**WHOLE, "parts": parts}, Report))
    assert "bounded" not in text and "≤" not in text and "measured" in text


def test_the_steps_of_each_model_are_told_where_there_are_several() -> None:
    models = [{"model_id": "a", "steps": 30, "is_main": True}, {"model_id": "b", "steps": 12, "is_main": False}]

    assert "\n  2 models: 30 + 12 steps\n" in printed(msgspec.convert({**WHOLE, "models": models}, Report))
    assert "models" not in printed(msgspec.convert({**WHOLE, "models": models[:1]}, Report))


def test_a_run_without_steps_is_told_in_calls() -> None:
    assert "1 min 40 s in 1 200 calls" in printed(msgspec.convert({**WHOLE, "steps": []}, Report))


def test_no_field_of_a_report_can_steer_the_terminal() -> None:
    report = msgspec.convert(hostile(WHOLE), Report)

    for show in (print_report, print_diagnosis):
        text = printed(report, show)
        assert "\\x1b" in text
        assert not STEERING.search(text)


def test_a_run_of_which_nothing_is_known_is_told_without_a_fault() -> None:
    empty = {key: [] if isinstance(value, list) else value for key, value in WHOLE.items()}
    report = msgspec.convert({**empty, "ledger": None, "began": None, "usual_step_s": None, "model": ""}, Report)

    assert "0 recorded = 0 stored" in printed(report)


def test_a_narrow_terminal_still_has_every_figure() -> None:
    text = printed(msgspec.convert(WHOLE, Report), width=70)

    assert "≤ 47.0 s" in text and "1 200 + 2 open" in text
    assert max(len(line) for line in text.split("\n")) <= 70


@pytest.mark.parametrize(
    ("state", "lead", "dropped", "mark"),
    [
        ("failed", "Failed.", 0, "×"),
        ("killed", "Killed", 0, "▨"),
        ("running", "Too early to say:", 0, "◉"),
        ("ended", "Cannot say:", 5, "?"),
        ("ended", "Healthy, as far as this run shows:", 0, "✓"),
    ],
)
def test_the_mark_is_the_states_where_nobody_is_to_blame(state: str, lead: str, dropped: int, mark: str) -> None:
    ledger = {"recorded": 10, "stored": 10 - dropped, "pending": 0, "rejected": 0, "dropped": {"exit": dropped}}
    verdict = {"owner": "none", "lead": lead, "sentence": "", "under": "", "well": lead.startswith("Healthy")}
    report = msgspec.convert({**WHOLE, "state": state, "verdict": verdict, "findings": [], "ledger": ledger}, Report)

    assert printed(report, print_diagnosis).startswith(f"{mark} {lead}")


@pytest.mark.parametrize(("well", "mark"), [(False, "?"), (True, "✓")])
def test_what_cost_something_and_is_nobodys_is_not_well(well: bool, mark: str) -> None:
    ledger = {"recorded": 10, "stored": 10, "pending": 0, "rejected": 0, "dropped": {}}
    finding = {**WHOLE["findings"][0], "owner": "none", "severity": "info" if well else "error"}
    verdict = {"owner": "none", "lead": "Not clear whose:", "sentence": "", "under": "", "well": well}
    changes = {"state": "ended", "verdict": verdict, "findings": [finding], "ledger": ledger}

    text = printed(msgspec.convert({**WHOLE, **changes}, Report), print_diagnosis)

    assert text.startswith(f"{mark} Not clear whose:")


def test_a_very_long_name_is_cut() -> None:
    text = printed(msgspec.convert({**WHOLE, "name": 500 * "n"}, Report))

    assert f"  {59 * 'n'}…  ·  " in text


def test_in_a_very_narrow_terminal_a_note_stands_under_its_row() -> None:
    lines = [line.rstrip() for line in printed(msgspec.convert(WHOLE, Report), width=40).split("\n")]

    assert all(len(line) <= 40 for line in lines)
    row = lines.index("    queue: capacity  ≤ 47.0 s  47 %")
    assert lines[row + 1] == "      bounded 45.0 to 47.0 s"
    row = lines.index("  forward_backward")
    assert lines[row + 1] == "      1 200 + 2 open calls, p50 0.16 s,"
    assert "      too long" in lines


def test_a_pause_of_two_requests_is_told_as_one_with_its_bounds() -> None:
    (pause,) = WHOLE["pauses"]
    other = {**pause, "operation": "optim_step", "request_id": "s", "pause": 1, "ended_s": 50.0}
    evidence = {"figures": {"min_s": 45.0, "max_s": 47.5}, "ended_s": 50.0}
    finding = {**WHOLE["findings"][0], "evidence": evidence}
    report = {**WHOLE, "pauses": [{**pause, "pause": 1, "ended_s": 50.0}, other], "findings": [finding]}
    text = printed(msgspec.convert(report, Report))

    assert "Pauses   1 pause, 2 requests" in text
    assert "step 1, forward_backward and optim_step, 2 requests" in text
    assert "capacity-pause  ≈ 47.0 s, 47 %" in text
    assert "It lasted 45.0 to 47.5 s." in text


@pytest.mark.parametrize(
    ("state", "length", "lasted"),
    [("paused", "≈ 47.0 s so far", "It has lasted 45.0"), ("ended", "≈ 47.0 s, to the end", "It had lasted 45.0")],
)
def test_a_pause_that_did_not_end_is_told_by_whether_the_run_did(state: str, length: str, lasted: str) -> None:
    evidence = {"figures": {"min_s": 45.0, "max_s": 47.5}, "ended_s": None}
    finding = {**WHOLE["findings"][0], "evidence": evidence}
    text = printed(msgspec.convert({**WHOLE, "state": state, "findings": [finding]}, Report))

    assert length in text and lasted in text


def test_an_owners_figure_is_marked_where_much_of_it_is_no_measurement() -> None:
    text = printed(msgspec.convert(WHOLE, Report))

    assert "  ● Tinker                   ≈ 60.0 s  60 %" in text
    assert "  ■ you                        40.0 s  40 %" in text


@pytest.mark.parametrize("is_inferred", [False, True])
def test_steps_that_the_program_did_not_say_are_marked(is_inferred: bool) -> None:
    steps = [{**WHOLE["steps"][0], "inferred": is_inferred}]

    said = printed(msgspec.convert({**WHOLE, "steps": steps}, Report))

    assert "1 step, usually 3.0 s each" in said and (FOUND in said) is is_inferred
