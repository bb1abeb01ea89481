"""What lies where polls brought no answer: docs/facts/partition.md §2, and the bounds that hold the truth."""

from __future__ import annotations

import pytest
from tests.diagnosis.broken import RESET, TIMEOUT, Asked, exchange, polled
from tests.diagnosis.builder import MS, Script
from tests.diagnosis.test_operations import cut_of, parts_of

from tinkertape.diagnosis.segments import OperationCut

OUTAGE = [
    Asked(1006, 1040, "broken"),  # held until it was reset
    Asked(2040, 2041, "broken"),
    Asked(4041, 4043, "ready"),  # and there it was, at once
]


def with_history(polls: list[Asked]) -> OperationCut:
    """A call with these polls, after one that computed 100 ms."""
    script = Script()
    script.call("forward_backward", 0, compute=100)
    call = polled(script, 1000, polls)
    script.tick(9000)
    return cut_of(script.events(), call.operation_id)


def without(polls: list[Asked]) -> OperationCut:
    script = Script()
    call = polled(script, 1000, polls)
    script.tick(9000)
    return cut_of(script.events(), call.operation_id)


def bounds(cut: OperationCut, part: str) -> tuple[float, float]:
    """The least and the most, in ms."""
    less, more = cut.doubt_ns(part)
    return (max(0, cut.nanoseconds(part) - less) / MS, (cut.nanoseconds(part) + more) / MS)


def test_a_result_that_nobody_could_fetch_was_ready_when_it_usually_is() -> None:
    cut = with_history(OUTAGE)

    assert (parts_of(cut)["compute"], parts_of(cut)["retrieve"]) == (100, 4043 - 1005 - 100)
    assert {doubt.quality for doubt in cut.cut.doubts if doubt.after == "retrieve"} == {"inferred"}
    assert bounds(cut, "compute") == (0, 4043 - 1005)


def test_without_a_history_several_broken_polls_are_no_compute_and_the_bounds_hold_all_of_it() -> None:
    cut = without(OUTAGE)

    assert parts_of(cut)["compute"] == 35  # it was held so long before its connection broke
    assert parts_of(cut)["retrieve"] == 4043 - 1040
    assert bounds(cut, "compute") == (0, 4043 - 1005)


def test_without_a_history_one_broken_poll_is_compute_and_the_bounds_hold_all_of_it() -> None:
    cut = without([Asked(1006, 1007, "broken"), Asked(2007, 2009, "ready")])

    assert parts_of(cut)["compute"] == 2009 - 1005
    assert bounds(cut, "compute") == (0, 2009 - 1005)


def test_one_broken_poll_longer_than_a_poll_is_held_is_no_compute() -> None:
    polls = [Asked(1006, 1406, "pending"), Asked(1407, 91_407, "broken", TIMEOUT), Asked(92_407, 92_409, "ready")]

    cut = without(polls)

    assert parts_of(cut)["compute"] == 1406 - 1005
    assert parts_of(cut)["retrieve"] == 92_409 - 1406


@pytest.mark.parametrize(
    "after", [Asked(4041, 4141, "ready"), Asked(4041, 4441, "pending")], ids=["held", "not yet, it says"]
)
def test_what_an_answer_proves_to_be_no_result_yet_is_compute(after: Asked) -> None:
    polls = [*OUTAGE[:2], after] if after.outcome == "ready" else [*OUTAGE[:2], after, Asked(4442, 4500, "ready")]

    cut = with_history(polls)

    assert parts_of(cut)["compute"] == polls[-1].ended - 1005
    assert "retrieve" not in parts_of(cut)


def test_a_poll_that_hung_while_nothing_got_through_was_not_held_by_the_service() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100)
    call = polled(script, 1000, [Asked(1006, 49_006, "broken"), Asked(50_006, 50_008, "ready")])
    exchange(script, 11_000, 31_000, error=TIMEOUT)  # a heartbeat
    exchange(script, 41_000, 49_006, error=RESET)
    script.tick(60_000)

    cut = cut_of(script.events(), call.operation_id)

    assert (parts_of(cut)["compute"], parts_of(cut)["retrieve"]) == (100, 50_008 - 1005 - 100)


def test_a_poll_that_is_out_for_longer_than_the_service_holds_one_was_not_held_by_it() -> None:
    cut = with_history([Asked(1006, 1406, "pending"), Asked(1407, 9407, "broken"), Asked(10_407, 10_409, "ready")])

    assert parts_of(cut)["compute"] == 1406 - 1005
    assert parts_of(cut)["retrieve"] == 10_409 - 1406


def test_a_poll_answered_5xx_in_between_says_no_more_than_a_broken_one() -> None:
    bad = {"error_type": "APIStatusError", "status_code": 502}

    cut = with_history([OUTAGE[0], Asked(2040, 2041, "error", bad), OUTAGE[2]])

    assert parts_of(cut)["compute"] == 100


def test_polls_that_only_the_service_failed_are_compute() -> None:
    bad = {"error_type": "APIStatusError", "status_code": 502}

    cut = with_history([Asked(1006, 1050, "error", bad), Asked(1051, 1090, "error", bad), Asked(1091, 1110, "ready")])

    assert parts_of(cut)["compute"] == 1110 - 1005


def test_a_pause_may_have_ended_while_nobody_could_ask() -> None:
    cut = with_history(
        [Asked(1006, 1406, "pending", RESET, "paused_capacity"), Asked(1407, 1408, "broken"), *OUTAGE[1:]]
    )

    assert parts_of(cut)["queue:capacity"] == 1406 - 1005
    assert bounds(cut, "queue:capacity")[1] == 4043 - 1005
    assert bounds(cut, "compute") == (0, 4043 - 1005)  # before the pause, or after it


def test_an_open_call_whose_polls_break_waits_for_the_network() -> None:
    script = Script()
    script.call("forward_backward", 0, compute=100)
    call = polled(script, 1000, [*OUTAGE[:2], Asked(4041, 4042, "broken"), Asked(8042, 8043, "broken")])
    script.tick(9000)

    cut = cut_of(script.events(), call.operation_id)

    assert cut.segments[-1].part == "retrieve"
    assert (parts_of(cut)["compute"], parts_of(cut)["retrieve"]) == (100, 9000 - 1105)


def test_a_call_behind_one_that_nobody_could_fetch_computed_after_it() -> None:
    script = Script()
    for at in (0, 300):  # twice, so that both are known
        script.call("forward_backward", at, compute=100)
        script.call("optim_step", at + 150, compute=40)
    first = polled(script, 1000, OUTAGE)
    second = polled(
        script,
        1010,
        [Asked(1016, 1040, "broken"), Asked(2040, 2042, "broken"), Asked(4042, 4044, "ready")],
        "optim_step",
    )
    script.tick(9000)

    one, two = (cut_of(script.events(), call.operation_id) for call in (first, second))

    assert parts_of(one)["compute"] == 100
    assert parts_of(two)["compute:behind"] == 1105 - 1015
    assert parts_of(two)["compute"] == 40
    assert parts_of(two)["retrieve"] == 4044 - 1145


def test_a_submission_whose_answer_was_lost_may_have_been_taken() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "optim_step", "model_id": "model-1"}
    script.event("tinker.training.optim_step.start", 0, {}, {**call, "thread": 1})
    submission = {**call, "submission_id": 1}
    script.event("tinker.submit.start", 1, {}, submission)
    exchange(script, 2, 5, "/api/v1/optim_step", error=RESET, headers=4, **submission)
    exchange(script, 505, 510, "/api/v1/optim_step", **submission)
    script.event("tinker.submit.stop", 510, {"serialise_duration": MS}, {**submission, "request_id": "r"})
    request = {**call, "request_id": "r"}
    script.poll(request, 511, 513, 513, "ready", "active")
    script.event("tinker.request.stop", 514, {}, request)
    script.event("tinker.training.optim_step.stop", 515, {"duration": 515 * MS, "call_duration": MS}, call)

    cut = cut_of(script.events())

    assert parts_of(cut)["send"] == 508
    least, most = bounds(cut, "compute")
    assert least == 0 and most == pytest.approx(513 - 2, abs=3)


def test_exchanges_for_the_whole_client_that_break_inside_a_call_are_sending() -> None:
    script = Script()
    call = {"operation_id": 1, "operation": "create_lora_training_client"}
    script.event("tinker.service.create_lora_training_client.start", 0, {}, {**call, "thread": 1})
    for began in (10, 511, 1412):
        exchange(script, began, began + 1, "/api/v1/client/config", error=RESET)
    exchange(script, 3013, 3015, "/api/v1/client/config")
    exchange(script, 3016, 3017, "/api/v1/create_session", error=RESET, **call)
    exchange(script, 3517, 3520, "/api/v1/create_session", **call)
    ended = {"duration": 3530 * MS, "call_duration": 3530 * MS}
    script.event("tinker.service.create_lora_training_client.stop", 3530, ended, {**call, "thread": 1})

    parts = parts_of(cut_of(script.events()))

    assert parts["call"] == 10 + 3
    assert parts["send"] == (3013 - 10) + (3520 - 3016)


def test_who_hears_late_that_a_call_was_given_up_still_knows_who_stood_behind_it() -> None:
    """The program is told by another thread than the one that tells of the call's end: its next call may come first."""
    script = Script()
    known = {"operation_id": script.next_id(), "operation": "optim_step", "model_id": "model-1"}
    submission = {**known, "submission_id": 1}
    script.event("tinker.training.optim_step.start", 0, {}, {**known, "thread": 1})
    script.event("tinker.submit.start", 1, {}, submission)
    exchange(script, 2, 5, "/api/v1/optim_step", **submission)
    failed = {**known, "error_type": "APIResponseValidationError", "status_code": 200}
    script.event("tinker.training.optim_step.exception", 6, {"duration": 6 * MS}, failed)
    behind = script.call("forward_backward", 7, compute=100)
    after = script.call("forward_backward", behind.ended + 1, compute=100)
    script.tick(9000)
    in_time = script.events()
    [end] = [event for event in in_time if event.name == "tinker.training.optim_step.exception"]
    rest = [event for event in in_time if event is not end]
    began = next(n for n, event in enumerate(rest) if event.name == "tinker.training.forward_backward.start")

    for events in (in_time, [*rest[: began + 1], end, *rest[began + 1 :]]):
        assert cut_of(events, behind.operation_id).doubt_ns("compute")[0] == 100 * MS
        assert cut_of(events, after.operation_id).doubt_ns("compute")[0] < 100 * MS
