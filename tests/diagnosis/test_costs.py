"""What a finding cost is what any thread waited for it: once on the wall, and never more than that."""

from __future__ import annotations

import pytest
from tests.diagnosis.broken import REFUSED, Asked, polled
from tests.diagnosis.builder import USER, Call, Script, training_run

from tinkertape.diagnosis import Diagnosis, Finding, diagnose
from tinkertape.diagnosis.words import THIN

WORKER = USER + 1


def sample(script: Script, at: float, thread: int, *, paused: float = 0, compute: float = 100) -> Call:
    """A worker samples, and waits for it; `paused` for so long at its begin."""
    pause = (0.0, paused) if paused else None
    call = script.call("sample", at, family="sampling", compute=compute, paused=pause, hold=100, thread=thread)
    script.claim(call, at + 1, call.ended, thread=thread)
    return call


def said(diagnosis: Diagnosis) -> str:
    return diagnosis.report.verdict.sentence.replace(THIN, " ")


def only(diagnosis: Diagnosis) -> Finding:
    [finding] = diagnosis
    assert finding.cost_s is not None and finding.share is not None
    assert 0 <= finding.share <= 1 and 0 <= finding.cost_s <= diagnosis.report.wall_s
    return finding


def test_a_pause_of_eight_threads_that_main_joins_is_one_pause() -> None:
    script = Script()
    script.start(0)
    calls = [sample(script, index, WORKER + index, paused=1500) for index in range(8)]
    script.wait(10, calls[-1].ended + 1, "threading.Thread.join")
    script.stop(calls[-1].ended + 300)

    diagnosis = diagnose(script.events())
    finding = only(diagnosis)

    assert finding.cost_s == pytest.approx(1.5, abs=0.11)  # known to a poll
    assert "It paused this run for" in said(diagnosis)
    assert finding.evidence.figures["waited_by"] == [f"worker-{number}" for number in range(1, 9)]


def test_one_pause_in_an_executor_costs_what_its_worker_waited() -> None:
    script = Script()
    script.start(0)
    ends = []
    for index in range(12):
        at = 5 + 130 * (index // 4)
        ends.append(sample(script, at + index, WORKER + index % 4, paused=1200 if index == 8 else 0).ended)
    script.wait(5, max(ends), "concurrent.futures.Executor.map")
    script.stop(max(ends))

    finding = only(diagnose(script.events()))

    assert finding.cost_s == pytest.approx(1.2, abs=0.11)
    assert finding.severity == "warning"
    assert "worker-1" in finding.evidence.figures["waited_by"]


def test_a_pause_in_one_of_many_threads_counts_where_nobody_takes_steps() -> None:
    script = Script()
    script.start(0)
    for index in range(8):  # the main thread looks after them with `time.sleep`
        at = 5.0
        for _ in range(1 if index == 5 else 20):
            at = sample(script, at, WORKER + index, paused=1200 if index == 5 else 0).ended + index
    script.stop(2600)

    diagnosis = diagnose(script.events())
    finding = only(diagnosis)

    assert (finding.severity, finding.evidence.figures["own_thread_s"]) == ("warning", 0)
    assert diagnosis.report.verdict.lead == "It is Tinker."
    assert said(diagnosis).endswith("that only thread `worker-6` waited for.")


def trained_beside(*, claimed: bool) -> Diagnosis:
    """Twelve steps of 160 ms, while another thread's sample is paused for 1.1 s."""
    script = training_run([100] * 12)
    call = script.call("sample", 200, family="sampling", compute=50, hold=100, paused=(0, 1100), thread=WORKER)
    if claimed:
        script.claim(call, 201, call.ended, thread=WORKER)
    return diagnose(script.events())


def test_a_pause_that_only_another_thread_waited_for_says_who() -> None:
    diagnosis = trained_beside(claimed=True)
    finding = only(diagnosis)

    assert finding.cost_s == pytest.approx(1.1, abs=0.11)
    assert (finding.evidence.figures["own_thread_s"], finding.severity) == (0, "info")
    assert "queue:capacity" not in diagnosis.partition  # the training went on
    assert diagnosis.report.verdict.lead == "The steps went on:"
    assert said(diagnosis) == "Tinker paused a request for ≈ 1.0 s that only thread `worker-1` waited for."


def test_a_pause_whose_end_alone_the_steps_waited_for_is_told_of_the_thread_that_it_held() -> None:
    script = training_run([100] * 12)
    call = script.call("sample", 1200, family="sampling", compute=50, hold=100, paused=(0, 1100), thread=WORKER)
    script.claim(call, 1201, call.ended, thread=WORKER)
    script.claim(call, 2000, call.ended)  # the loop is over after 1.9 s: the program waits for the other thread

    diagnosis = diagnose(script.events())

    assert 0.1 < only(diagnosis).evidence.figures["own_thread_s"] < 0.5
    assert said(diagnosis) == "It paused a request for ≈ 1.0 s that thread `worker-1` waited for."


def test_a_pause_beside_claims_for_something_else_held_nothing_up() -> None:
    diagnosis = trained_beside(claimed=False)
    finding = only(diagnosis)

    assert (finding.cost_s, finding.severity) == (0, "info")
    assert finding.evidence.figures["waited_by"] == ["MainThread"]
    assert said(diagnosis).endswith("that held nothing up.")


def test_nobody_waited_for_a_pause_only_if_no_thread_waited_at_all() -> None:
    script = Script()
    script.start(0)
    script.call("sample", 1, family="sampling", compute=50, hold=100, paused=(0, 1100))
    script.stop(2000)

    diagnosis = diagnose(script.events())

    assert only(diagnosis).cost_s == 0
    assert said(diagnosis).endswith("that nobody waited for.")


def test_a_thread_of_a_pool_that_waits_for_work_waited_for_nothing() -> None:
    script = training_run([100] * 12)
    script.call("sample", 200, family="sampling", compute=50, hold=100, paused=(0, 1100))
    script.wait(5, 1700, "queue.Queue.get", thread=WORKER)
    diagnosis = diagnose(script.events())

    assert only(diagnosis).cost_s == 0
    assert said(diagnosis).endswith("that held nothing up.")


def test_a_thread_that_waits_for_its_own_futures_was_held_up_by_their_pause() -> None:
    script = training_run([100] * 12)
    call = script.call("sample", 200, family="sampling", compute=50, hold=100, paused=(0, 1100), thread=WORKER)
    script.wait(203, call.ended, "concurrent.futures.wait", thread=WORKER)

    finding = only(diagnose(script.events()))

    assert finding.cost_s == pytest.approx(1.1, abs=0.11)


def test_calls_that_are_slow_at_once_in_many_threads_cost_their_time_once() -> None:
    script = Script()
    script.start(0)
    ended = 0.0
    for turn in range(14):
        at = ended + 5
        for index in range(8):
            ended = sample(script, at + index, WORKER + index, compute=100 if turn < 9 else 300).ended
    script.wait(10, ended, "threading.Thread.join")
    script.stop(ended + 200)

    finding = only(diagnose(script.events()))

    assert finding.cause == "slow-service"
    assert finding.cost_s == pytest.approx(5 * 0.2, abs=0.06)  # not eight times that


def test_what_another_process_waited_for_is_its_cost() -> None:
    script = training_run([100] * 12)
    other = Script("fedcba9876543210")
    other.start(0)
    for index in range(4):
        sample(other, 100 + index, WORKER + index, paused=1100)
    other.stop(1600)

    finding = only(diagnose([*script.events(), *other.events()]))

    assert finding.cost_s == pytest.approx(1.1, abs=0.11)
    assert "own_thread_s" not in finding.evidence.figures


def test_a_second_in_which_nothing_got_through_is_no_second_of_the_services_errors() -> None:
    script = Script()
    script.start(0)
    before = script.call("forward_backward", 10, compute=100)
    script.claim(before, 11, before.ended)
    lost = {"error_type": "RequestFailedError", "error_category": "server", "fault_owner": "service", "reason": "lost"}
    polls = [Asked(506, 530, "broken"), Asked(1530, 1531, "broken", REFUSED), Asked(3500, 3502, "ready")]
    call = polled(script, 500, polls, failure=lost)
    script.claim(call, 501, call.ended)
    script.stop(call.ended + 500)

    costs = {finding.cause: finding.cost_s or 0.0 for finding in diagnose(script.events())}

    assert costs["unreachable"] == pytest.approx(2.9, abs=0.05)
    assert costs["service-errors"] == pytest.approx(0.1, abs=0.05)
