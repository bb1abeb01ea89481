"""One operation, cut into parts: every begin and end of docs/facts/partition.md §2 and §3."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from tests.diagnosis.builder import MS, Call, Script

from tinkertape.context import Event
from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.segments import OperationCut, claimed


def cut_of(events: list[Event], number: int = 1) -> OperationCut:
    book = Book()
    for event in events:
        book.feed(event)
    [process] = book.fold.processes.values()
    return book.cutter(process).cut(process.operations[number])


def parts_of(cut: OperationCut) -> dict[str, float]:
    """Milliseconds by part."""
    parts: Counter[str] = Counter()
    for part, began, ended in cut.segments:
        parts[part] += ended - began
    return {part: length / MS for part, length in parts.items()}


def test_a_call_is_cut_at_its_stamps() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100, hold=400)

    assert parts_of(cut_of(script.events())) == {
        "call": 0.5,
        "wait_local": 1,
        "serialise": 2,
        "send": 3,
        "compute": 100,
        "retrieve": 1,
        "deliver": 1,
    }


def test_pending_answers_of_an_active_queue_are_compute() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=1000, hold=300)

    assert parts_of(cut_of(script.events()))["compute"] == 1000


def test_a_paused_answer_describes_the_interval_that_it_ends() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100, hold=400, paused=(0, 1650))

    parts = parts_of(cut_of(script.events()))

    assert parts["queue:capacity"] == 1650 + 100  # no history: the last interval is the pause's, and the bounds say so
    assert "compute" not in parts


def test_the_interval_after_a_pause_is_split_by_the_usual_compute_of_the_run() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100, hold=400)
    script.call("forward_backward", 1000, compute=110, hold=400, paused=(0, 1650))
    script.tick(9000)

    cut = cut_of(script.events(), 2)

    assert parts_of(cut)["compute"] == 100
    assert parts_of(cut)["queue:capacity"] == 1660
    less, more = cut.doubt_ns("queue:capacity")
    assert 1660 * MS - less <= 1650 * MS <= 1660 * MS + more
    assert {doubt.quality for doubt in cut.cut.doubts if doubt.before == "queue:capacity"} == {"inferred"}


def test_a_service_that_answers_at_its_timeout_bounds_compute() -> None:
    script = Script()
    call = script.call("forward_backward", 0, compute=800, hold=400)  # 400 pending, then 400 until ready: alike

    cut = cut_of(script.events(), call.operation_id)

    less, _ = cut.doubt_ns("compute")
    assert less == 400 * MS
    assert cut.cut.doubts[-1].method == "the service answers at its timeout"


def test_a_busy_loop_while_sending_counts_compute_from_the_last_send() -> None:
    script = Script()
    script.call("forward_backward", 0, send=100, compute=300)
    script.busy(10, 103)

    cut = cut_of(script.events())

    assert parts_of(cut)["compute"] == 400
    assert "send" not in parts_of(cut)
    assert cut.doubt_ns("compute") == (100 * MS, 0)


def test_a_stamp_at_the_end_of_a_busy_run_may_be_as_old_as_its_begin() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=300)  # accepted at 6.5, ready at 306.5
    script.busy(150, 306)

    assert cut_of(script.events()).doubt_ns("compute") == (round(156.5 * MS), 0)


@pytest.mark.parametrize(
    ("transport", "busy", "less"),
    [
        ("AsyncHTTPTransport", [(20, 60)], 40),  # it was asked, or heard, so much later
        ("AsyncHTTPTransport", [(10, 60), (61, 106)], 100),  # it may have been ready when it was asked for
        ("AsyncPyqwestTransport", [(20, 60)], 0),  # threads of its own asked and heard
    ],
)
def test_where_the_loop_itself_asks_its_busy_runs_delay_question_and_answer(
    transport: str, busy: list[tuple[float, float]], less: float
) -> None:
    script = Script()
    script.event("tinker.http.request.stop", 0, {}, {"path": "/api/v1/retrieve_future", "transport": transport})
    script.call("sample", 1, family="sampling", compute=100)  # accepted at 7.5, ready at 107.5
    for began, ended in busy:
        script.busy(began, ended)

    assert cut_of(script.events()).doubt_ns("compute") == (less * MS, 0)


def test_a_stamp_at_the_end_of_a_stall_may_be_as_old_as_the_stalls_earliest_begin() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=300)  # accepted at 6.5, ready at 306.5
    script.stall(100, 300, certain=150)

    cut = cut_of(script.events())

    assert cut.doubt_ns("compute") == (round(206.5 * MS), 0)
    assert cut.cut.doubts[-1].method == "nobody could run just before: the GIL was held"


def test_a_stall_across_acceptance_and_one_long_before_leave_the_end_alone() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=300, send=100)  # accepted at 106.5 or so
    script.stall(20, 108)
    script.stall(150, 250)

    assert cut_of(script.events()).doubt_ns("compute")[0] == 0


def test_a_callback_that_held_another_loop_says_nothing_of_the_sdks_stamps() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=300)
    script.stall(100, 306, cause="loop")

    assert cut_of(script.events()).doubt_ns("compute") == (0, 0)


def test_a_pipelined_call_computes_after_its_predecessor() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=300)  # ready at 306.5
    script.call("optim_step", 5, compute=99, behind=306.5)

    parts = parts_of(cut_of(script.events(), 2))

    assert parts["compute"] == 99
    assert parts["compute:behind"] == 306.5 - 11.5


def test_a_call_behind_a_paused_one_computes_only_after_it() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100, hold=400)
    script.call("optim_step", 200, compute=50, hold=400)
    script.call("forward_backward", 1000, compute=100, hold=400, paused=(0, 2050))  # ready at 1006.5 + 2150
    script.call("optim_step", 1005, compute=50, hold=400, behind=1106.5, paused=(0, 2050))
    script.tick(9000)

    parts = parts_of(cut_of(script.events(), 4))

    assert parts["compute"] == 50


def test_backoff_and_second_attempts_are_sending() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "optim_step"}
    script.event("tinker.training.optim_step.start", 0, {}, {**call, "thread": 1})
    submission = {**call, "submission_id": 1}
    script.event("tinker.submit.start", 1, {}, submission)
    for number, began in ((1, 2), (2, 600)):
        http = {
            **submission,
            "http_id": number,
            "path": "/api/v1/optim_step",
            "status_code": 503 if number == 1 else 200,
        }
        script.span("tinker.http.request", began, began + 5, http, headers_duration=4 * MS)
    script.event("tinker.submit.stop", 605, {"serialise_duration": 1 * MS}, {**submission, "request_id": "r"})
    poll = {**call, "request_id": "r"}
    script.poll(poll, 605, 705, 706, "ready", "active")
    script.event("tinker.request.stop", 707, {}, poll)
    script.event("tinker.training.optim_step.stop", 708, {"duration": 708 * MS, "call_duration": MS}, call)

    assert parts_of(cut_of(script.events())) == {
        "call": 1,
        "serialise": 1,
        "send": 603,
        "compute": 100,
        "retrieve": 1,
        "deliver": 2,
    }


def test_back_pressure_on_samples_is_waiting_here() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "sample"}
    script.event("tinker.sampling.sample.start", 0, {}, {**call, "thread": 1})
    submission = {**call, "submission_id": 1}
    script.event("tinker.submit.start", 1, {}, submission)
    first = {**submission, "http_id": 1, "path": "/api/v1/asample", "status_code": 429}
    script.span("tinker.http.request", 2, 5, first, headers_duration=MS)
    script.event("tinker.submit.stop", 5, {"serialise_duration": MS}, submission)  # turned away: no request
    script.event("tinker.submit.start", 1005, {}, submission)
    second = {**submission, "http_id": 2, "path": "/api/v1/asample", "status_code": 200}
    script.span("tinker.http.request", 1006, 1010, second, headers_duration=MS)
    script.event("tinker.submit.stop", 1010, {"serialise_duration": MS}, {**submission, "request_id": "r"})
    poll = {**call, "request_id": "r"}
    script.poll(poll, 1010, 1060, 1061, "ready", "active")
    script.event("tinker.request.stop", 1062, {}, poll)
    script.event("tinker.sampling.sample.stop", 1062, {"duration": 1062 * MS, "call_duration": MS}, call)

    parts = parts_of(cut_of(script.events()))

    assert parts["wait_local"] == 1001  # 429 → the next attempt
    assert parts["send"] == 3 + 4
    assert parts["compute"] == 50


def test_a_lost_promise_is_sent_again() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "sample"}
    script.event("tinker.sampling.sample.start", 0, {}, {**call, "thread": 1})
    submission = {**call, "submission_id": 1}
    for number, at in ((1, 1), (2, 500)):
        script.event("tinker.submit.start", at, {}, submission)
        http = {**submission, "http_id": number, "path": "/api/v1/asample", "status_code": 200}
        script.span("tinker.http.request", at + 1, at + 5, http, headers_duration=MS)
        script.event(
            "tinker.submit.stop", at + 5, {"serialise_duration": MS}, {**submission, "request_id": f"r{number}"}
        )
    script.poll({**call, "request_id": "r1"}, 6, 106, 106, "error", "")
    script.event("tinker.request.exception", 107, {}, {**call, "request_id": "r1"})
    script.poll({**call, "request_id": "r2"}, 505, 605, 606, "ready", "active")
    script.event("tinker.request.stop", 607, {}, {**call, "request_id": "r2"})
    script.event("tinker.sampling.sample.stop", 607, {"duration": 607 * MS, "call_duration": MS}, call)

    parts = parts_of(cut_of(script.events()))

    assert parts["send:resubmit"] == 501 - 107
    assert parts["compute"] == 200


def chunk(script: Script, call: dict[str, object], number: int, submitted: float, ready: float) -> None:
    submission = {**call, "submission_id": number}
    script.event("tinker.submit.start", submitted, {}, submission)
    http = {**submission, "http_id": number, "path": "/api/v1/forward_backward", "status_code": 200}
    script.span("tinker.http.request", submitted + 2, submitted + 4, http, headers_duration=2 * MS)
    accepted = {**submission, "request_id": f"r{number}"}
    script.event("tinker.submit.stop", submitted + 4, {"serialise_duration": 2 * MS}, accepted)
    poll = {**call, "request_id": f"r{number}"}
    script.poll(poll, submitted + 4, ready, ready + 1, "ready", "active")
    script.event("tinker.request.stop", ready + 2, {}, poll)


def test_of_several_requests_the_one_furthest_behind_counts() -> None:
    script = Script()
    call: dict[str, object] = {"operation_id": 1, "operation": "forward_backward"}
    script.event("tinker.training.forward_backward.start", 0, {}, {**call, "thread": 1})
    chunk(script, call, 1, 1, 101)
    chunk(script, call, 2, 51, 301)  # starts later: until then the operation waits locally
    script.event("tinker.training.forward_backward.stop", 304, {"duration": 304 * MS, "call_duration": MS}, call)

    parts = parts_of(cut_of(script.events()))

    assert parts["wait_local"] == 50
    assert parts["compute"] == 301 - 55
    assert sum(parts.values()) == 304


def test_between_the_halves_of_a_custom_loss_your_function_runs() -> None:
    script = Script()
    call: dict[str, object] = {"operation_id": 1, "operation": "forward_backward_custom"}
    script.event("tinker.training.forward_backward_custom.start", 0, {}, {**call, "thread": 1})
    chunk(script, call, 1, 1, 301)
    chunk(script, call, 2, 503, 803)
    script.event("tinker.training.forward_backward_custom.stop", 805, {"duration": 805 * MS, "call_duration": MS}, call)

    parts = parts_of(cut_of(script.events()))

    assert parts["your_loss_fn"] == 200
    assert parts["compute"] == 296 * 2


def test_metadata_first_counts_as_retrieving_less_the_wait_for_bytes() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "sample"}
    script.event("tinker.sampling.sample.start", 0, {}, {**call, "thread": 1})
    submission = {**call, "submission_id": 1}
    script.event("tinker.submit.start", 1, {}, submission)
    script.event("tinker.submit.stop", 5, {"serialise_duration": MS}, {**submission, "request_id": "r"})
    poll = {**call, "request_id": "r"}
    script.poll(poll, 5, 105, 106, "metadata", "active")
    script.poll(poll, 126, 130, 160, "ready", "active")
    script.event("tinker.request.stop", 161, {}, poll)
    script.event("tinker.sampling.sample.stop", 161, {"duration": 161 * MS, "call_duration": MS}, call)

    parts = parts_of(cut_of(script.events()))

    assert parts["compute"] == 100
    assert parts["retrieve"] == 1 + 34
    assert parts["wait_local"] == 3 + 20


@pytest.mark.parametrize("at", [0.2, 1, 2, 4, 50, 150, 450, 1206.5, 1208])
def test_an_open_call_is_cut_at_now(at: float) -> None:
    script = Script()
    script.call("forward_backward", 0, compute=1200, hold=400)
    seen = [event for event in script.events() if event.monotonic_ns <= script.ns(at)]
    script_now = Script()
    script_now.tick(at)

    cut = cut_of([*seen, *script_now.events()])

    assert cut.segments[0].began_ns == script.ns(0)
    assert cut.segments[-1].ended_ns == script.ns(at)
    assert all(one.ended_ns == two.began_ns for one, two in pairwise(cut.segments))


def test_an_open_pause_grows() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100, hold=400, paused=(0, 60_000), open_at=5000)
    script.tick(5000)

    cut = cut_of(script.events())

    assert cut.segments[-1].part == "queue:capacity"
    assert cut.segments[-1].ended_ns == script.ns(5000)


def test_what_nobody_waited_for_is_unclaimed() -> None:
    script = Script()
    call: Call = script.call("forward_backward", 0, compute=100)
    script.claim(call, 500, 501)

    segments = claimed(cut_of(script.events()), script.ns(501))

    assert [(part, (high - low) / MS) for part, low, high in segments[-2:]] == [
        ("unclaimed", 500 - call.ended),
        ("deliver", 1),
    ]
