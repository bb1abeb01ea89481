"""A step's wall time, cut: docs/facts/partition.md §5, definition C."""

from __future__ import annotations

import pytest
from tests.diagnosis.builder import MS, USER, Script, training_run

from tinkertape.diagnosis import Report, diagnose


def parts_of(report: Report) -> dict[str, float]:
    """Milliseconds by part, of the whole run."""
    return {part.part: round(part.seconds * 1e3, 6) for part in report.parts}


def test_the_parts_of_a_run_and_of_each_step_add_up_to_their_wall() -> None:
    report = diagnose(training_run([100, 150, 120, 90], pauses={2: (0, 1000)}).events()).report

    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, abs=1e-9)
    for step in report.steps:
        assert sum(step.parts.values()) == pytest.approx(step.wall_s, abs=1e-9)


def test_a_thread_that_waits_is_in_the_part_of_what_it_waits_for() -> None:
    report = diagnose(training_run([100] * 5, optim=40, between=50).events()).report

    parts = parts_of(report)
    assert parts["compute"] == 5 * 140
    assert parts["send"] == 5 * 6
    assert report.usual_step_s == pytest.approx(0.2056 - 0.0001, abs=0.005)


def test_the_wait_for_the_turn_of_a_call_is_the_send_of_the_one_before_it() -> None:
    script = Script()
    script.start(0)
    first = script.call("forward_backward", 0, compute=200, send=100)  # accepted at 103.5
    second = script.call("optim_step", 1, compute=50, send=100, wait_local=102, behind=first.ended)
    third = script.call("optim_step", 2, compute=50, send=100, wait_local=203, behind=second.ended)
    script.claim(third, 3, third.ended)
    script.stop(third.ended)

    diagnosis = diagnose(script.events())
    parts = parts_of(diagnosis.report)

    assert parts["send"] == pytest.approx(300 - 0.5, abs=1)
    assert parts["serialise"] == pytest.approx(6, abs=1.5)
    assert parts.get("wait_local", 0) < 1
    assert [span.segments[1][0] for span in diagnosis.report.spans] == ["wait_local"] * 3  # each by itself


def test_running_with_something_in_flight_is_your_code_and_without_it_is_idle() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 10, compute=300)  # done at 318.5
    script.claim(call, 110, 318.6)
    second = script.call("optim_step", 418.6, compute=50)
    script.claim(second, 420, second.ended)
    script.stop(second.ended)

    parts = parts_of(diagnose(script.events()).report)

    assert parts["your_code"] == pytest.approx(99.5 + 0.9)
    assert parts["idle"] == pytest.approx(10 + 100)


def test_a_pause_of_what_nobody_waits_for_costs_nothing() -> None:
    script = Script()
    script.start(0)
    sample = script.call("sample", 1, family="sampling", compute=10, hold=100, paused=(0, 1550))
    call = script.call("forward_backward", 5, compute=3000, hold=400)
    script.claim(call, 6, call.ended)
    script.claim(sample, call.ended + 1, call.ended + 1.1)
    script.stop(call.ended + 500)

    diagnosis = diagnose(script.events())

    assert "queue:capacity" not in diagnosis.partition
    [finding] = diagnosis
    assert (finding.cause, finding.cost_s, finding.severity) == ("capacity-pause", 0, "info")


def test_waiting_behind_a_paused_call_is_its_pause() -> None:
    script = Script()
    script.start(0)
    script.call("forward_backward", 0, compute=100, hold=400, paused=(0, 3000))
    last = script.call("optim_step", 5, compute=50, hold=400, behind=3106.5)
    script.claim(last, 6, last.ended)  # only the second one is waited for
    script.stop(last.ended + 200)

    parts = parts_of(diagnose(script.events()).report)

    assert parts["queue:capacity"] >= 2800
    assert parts["compute"] <= 50 + 400
    assert "compute:behind" not in parts


def test_a_busy_loop_of_another_call_is_named() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 0, wait_local=200, compute=100)
    script.claim(call, 1, call.ended)
    script.busy(50, 150)
    script.stop(call.ended + 200)

    parts = parts_of(diagnose(script.events()).report)

    assert parts["wait_local:sdk_loop"] == 100
    assert parts["wait_local"] == 200 - 100 - 0.5


def test_a_busy_loop_that_encodes_the_call_itself_is_not_blamed() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 0, serialise=60, compute=100)
    script.claim(call, 1, call.ended)
    script.busy(1.4, 63)
    script.stop(call.ended + 200)

    parts = parts_of(diagnose(script.events()).report)

    assert parts["serialise"] == 60
    assert "wait_local:sdk_loop" not in parts


def test_an_event_loop_that_runs_your_callbacks_is_your_code() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 0, compute=300)  # done at 308.5
    script.claim(call, 1, 601, loop=7)
    script.busy(100, 600, owner="user", loop=7)
    script.stop(700)

    parts = parts_of(diagnose(script.events()).report)

    assert parts["your_code"] == pytest.approx(208.5 + 0.5)  # until it is done; afterwards nothing is in flight
    assert parts["idle"] == pytest.approx(291.5 + 99)


def test_of_many_awaited_calls_the_last_one_done_counts() -> None:
    script = Script()
    script.start(0)
    calls = [
        script.call("sample", i, family="sampling", compute=compute) for i, compute in enumerate((100, 400, 200), 1)
    ]
    for call in calls:
        script.claim(call, 5, call.ended + 0.5, loop=7)
    script.stop(500)

    parts = parts_of(diagnose(script.events()).report)

    assert parts["compute"] == 400


def test_the_wall_of_other_threads_is_not_counted_twice() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 10, compute=300)
    script.claim(call, 12, call.ended)
    for at in (20, 30, 40):
        sample = script.call("sample", at, family="sampling", compute=200, thread=USER + 5)
        script.claim(sample, at + 2, sample.ended, thread=USER + 5)
    script.stop(400)

    report = diagnose(script.events()).report

    assert sum(part.seconds for part in report.parts) == pytest.approx(0.4, abs=1e-9)
    assert parts_of(report)["compute"] == 300


def test_the_parts_of_a_run_that_goes_on_are_cut_at_now() -> None:
    script = Script()
    script.start(0)
    call = script.call("forward_backward", 10, compute=60_000, hold=400, open_at=5000)
    script.claim(call, 12, None)
    script.tick(5000)

    report = diagnose(script.events()).report

    assert report.state == "running"
    assert report.wall_s == 5
    assert report.spans[-1].open
    assert parts_of(report)["compute"] == pytest.approx(5000 - 16.5)


def test_two_processes_are_never_measured_on_one_clock() -> None:
    one = training_run([100] * 6)
    other = Script("fedcba9876543210", monotonic=900_000_000_000, wall_offset=300 * MS)
    other.start(0)
    call = other.call("sample", 10, family="sampling", compute=100)
    other.claim(call, 12, call.ended)
    other.stop(200)
    mixed = [*other.events(), *one.events()]

    report = diagnose(mixed).report

    assert report.processes == 2
    assert report.wall_s == diagnose(one.events()).report.wall_s
    [span] = [span for span in report.spans if span.operation == "sample"]
    assert span.began_s == pytest.approx(0.31)
