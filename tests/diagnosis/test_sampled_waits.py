"""A thread waits where no claim sees it: samples of its frames say so, and what is in flight says for what."""

from __future__ import annotations

import pytest
from tests.diagnosis.builder import USER, Call, Script

from tinkertape.diagnosis import Report, diagnose
from tinkertape.diagnosis.report import Part

WORKER = USER + 1
SAMPLED = ("inferred", "sampled frames")


def part(report: Report, name: str) -> Part:
    return next(part for part in report.parts if part.part == name)


def ms(report: Report, name: str) -> float:
    """Milliseconds of a part, 0 without it."""
    return round(sum(part.seconds for part in report.parts if part.part == name) * 1e3, 6)


def report_of(script: Script) -> Report:
    report = diagnose(script.events()).report
    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, abs=1e-9)
    return report


def in_flight(compute: float = 300, *, at: float = 0, thread: int = USER) -> tuple[Script, Call]:
    """A call that nobody claims."""
    script = Script()
    script.start(0)
    return script, script.call("forward_backward", at, compute=compute, thread=thread)  # computes from 6.5


@pytest.mark.parametrize(
    "method", ["concurrent.futures.wait", "concurrent.futures.as_completed", "asyncio", "queue.Queue.get"]
)
def test_a_sampled_wait_is_in_the_part_of_what_ended_it(method: str) -> None:
    script, call = in_flight()
    script.wait(1, call.ended + 2, method)
    script.stop(call.ended + 200)

    report = report_of(script)

    assert ms(report, "compute") == 300
    assert ms(report, "your_code") == 0.5  # between the call and the first sample
    assert (part(report, "compute").quality, part(report, "compute").method) == SAMPLED


def test_its_ends_are_uncertain_by_half_a_gap_between_samples() -> None:
    script, call = in_flight()
    script.wait(50, 200, "asyncio", unsure=4)
    script.stop(call.ended)

    compute = part(report_of(script), "compute")

    assert [round(each * 1e3, 3) for each in (compute.min_s, compute.seconds, compute.max_s)] == [142, 150, 158]


def test_the_end_of_a_wait_is_the_result_that_came_between_its_last_two_samples() -> None:
    script, call = in_flight()
    script.call("optim_step", 2, compute=500)  # goes on
    script.wait(1, call.ended + 60, "queue.Queue.get", unsure=60.5)  # the sampler could not run for 120 ms
    script.stop(call.ended + 100)

    report = report_of(script)

    assert ms(report, "compute") == 300
    assert ms(report, "your_code") == pytest.approx(100 + 0.5)


def test_a_wait_for_something_else_is_your_code_and_may_not_be() -> None:
    script, call = in_flight()
    script.wait(50, 150, "queue.Queue.get")  # a batch of your own: the call goes on
    script.claim(call, 200, call.ended)
    script.stop(call.ended)

    report = report_of(script)
    yours = part(report, "your_code")

    assert round(yours.seconds * 1e3, 3) == 199.5
    assert (round(yours.min_s * 1e3, 3), yours.quality, yours.method) == (
        99.5,
        "bounded",
        "a wait that no result ended",
    )
    assert round(part(report, "compute").max_s * 1e3, 3) == pytest.approx(108.5 - 2 + 100, abs=1)


def test_a_wait_with_a_time_out_that_begins_again_at_once_is_one_for_what_is_in_flight() -> None:
    script, call = in_flight()
    for began in range(5, 305, 50):
        script.wait(began, began + 45, "threading.Thread.join")
    script.wait(305, call.ended, "threading.Thread.join")
    script.stop(call.ended)

    assert ms(report_of(script), "compute") == pytest.approx(300 - 6 * 5, abs=1)


def test_what_another_thread_has_a_claim_on_is_waited_for_by_who_joins_it() -> None:
    script = Script()
    script.start(0)
    script.call("save_state", 0, compute=1340, thread=WORKER + 1)  # nobody waits for it
    sample = script.call("sample", 1, family="sampling", compute=300, paused=(0, 1000), hold=100, thread=WORKER)
    script.claim(sample, 2, sample.ended, thread=WORKER)
    script.wait(3, sample.ended + 80, "threading.Thread.join")  # the worker does something with it
    script.stop(sample.ended + 80)

    report = report_of(script)

    assert ms(report, "queue:capacity") >= 900
    assert part(report, "queue:capacity").quality == "inferred"


def test_the_results_of_an_executor_are_waited_for_one_after_the_other() -> None:
    script = Script()
    script.start(0)
    for index, compute in enumerate((100, 300, 200)):
        at = 1.0 + index
        call = script.call("sample", at, family="sampling", compute=compute, thread=WORKER + index)
        script.claim(call, at + 1, call.ended, thread=WORKER + index)
    script.wait(1, 309, "concurrent.futures.Executor.map")
    script.stop(320)

    report = report_of(script)

    assert ms(report, "compute") == pytest.approx(300)
    assert ms(report, "your_code") == 0


def test_a_claim_goes_before_samples_and_a_call_before_both() -> None:
    script, call = in_flight()
    second = script.call("optim_step", 100, compute=50, model="another")
    script.claim(second, 101, second.ended)
    script.wait(1, call.ended, "asyncio")
    script.stop(call.ended)

    waited = diagnose(script.events()).report

    assert ms(waited, "call") == pytest.approx(0.5 + 0.5)
    assert part(waited, "compute").method == "sampled frames"
    assert sum(part.seconds for part in waited.parts if part.owner == "you") < 0.02


def test_nothing_in_flight_is_idle_whatever_a_thread_waits_for() -> None:
    script, call = in_flight(100)
    script.claim(call, 1, call.ended)
    script.wait(call.ended + 100, call.ended + 400, "queue.Queue.get")
    script.stop(call.ended + 500)

    assert ms(report_of(script), "idle") == 500


def test_a_wait_that_goes_on_lasts_until_now() -> None:
    script = Script()
    script.start(0)
    script.call("forward_backward", 0, compute=60_000, hold=400, paused=(0, 50_000), open_at=9000)
    number = script.wait(3, 1003, "concurrent.futures.wait", goes_on=True)
    script.wait(3, 8003, "concurrent.futures.wait", goes_on=True, number=number)
    script.tick(9000)

    report = report_of(script)

    assert report.state == "paused"
    assert report.verdict.lead == "Waiting for Tinker"
    assert ms(report, "queue:capacity") == pytest.approx(9000 - 6.5)


def test_a_wait_that_grew_is_one() -> None:
    script, call = in_flight(3000)
    number = script.wait(3, 1003, goes_on=True)
    script.wait(3, 2003, goes_on=True, number=number)
    script.wait(3, call.ended, number=number)
    script.stop(call.ended)

    report = report_of(script)

    assert ms(report, "compute") == 3000


def test_the_time_of_a_program_that_joins_its_threads_is_its_main_threads() -> None:
    script = Script()
    script.start(0)
    for index in range(8):
        call = script.call("sample", index, family="sampling", compute=300, thread=WORKER + index)
        script.claim(call, index + 1, call.ended, thread=WORKER + index)
        script.wait(index + 10, 400, "queue.Queue.get", thread=WORKER + 20)  # one that waits for work
    script.wait(8, call.ended, "threading.Thread.join")
    script.stop(400)

    report = report_of(script)

    assert part(report, "compute").method == "sampled frames"
    assert ms(report, "compute") == pytest.approx(300)
