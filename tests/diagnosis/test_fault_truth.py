"""Each kind of fault that the simulated service knows, met by the real SDK: what was recorded is what was injected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.diagnosis.truth import CONNECT_NS, MS, Run, Trainer, connections, outside, true_causes, view_of

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnosis, diagnose
from tinkertape.sim import (
    ConnectionFault,
    Expiry,
    Latency,
    LostSession,
    Outage,
    Scenario,
    Slow,
    StatusRate,
    SubmitFault,
)
from tinkertape.tape import open_tape

pytestmark = pytest.mark.alone
pytest.importorskip("tinker")

UNSEEN = 0.12  # of the exchanges: on a busy machine a thread waits for one that waits, which nobody counts
COMPUTE_S = {"CreateModel": 0.01, "ForwardBackward": 0.05, "OptimStep": 0.02, "Sample": 0.03}
OWNERS = {
    "slow-service": "service",
    "service-errors": "service",
    "promise-expired": "service",
    "session-lost": "service",
    "unreachable": "network",
    "flaky-network": "network",
    "billing-hold": "you",
}


class Case(NamedTuple):
    """Faults, for how many steps, how many samples; and the causes that they are."""

    faults: dict[str, Any]
    causes: frozenset[str] = frozenset()
    steps: int = 6
    samples: int = 0


def case(*causes: str, steps: int = 6, samples: int = 0, **faults: Any) -> Case:
    return Case(faults, frozenset(causes), steps, samples)


CASES = {
    "latency by endpoint and distribution": case(
        latency=(
            Latency(one_way_s=0.01, distribution="exponential"),
            Latency(one_way_s=0.03, path="/optim_step", distribution="uniform"),
        )
    ),
    "compute by token": case(compute_per_token_s={"ForwardBackward": 0.0003, "Sample": 0.01}, samples=2),
    "slow from a time on": case(  # and from a call on, before which nobody knows what is usual
        "slow-service", slow=(Slow(factor=4.0, first=7, from_s=1.2),), steps=24
    ),
    "errors by rate": case(
        "service-errors",
        status_rates=(
            StatusRate(status=503, share=0.6, retry_after_s=0.05, request_types=("OptimStep",)),
            StatusRate(status=502, share=0.2, on="poll"),
        ),
    ),
    "connections that hang": case(
        connection_faults=(
            ConnectionFault(nth=2, how="hang", length_s=0.4),
            ConnectionFault(nth=3, on="poll", how="hang", length_s=0.4),
        ),
        steps=4,
    ),
    "answers that are none": case(
        "service-errors",
        connection_faults=(
            ConnectionFault(nth=2, how="garbled", request_type="OptimStep"),
            ConnectionFault(nth=4, on="poll", how="garbled"),
        ),
    ),
    "promises that expire": case(
        "promise-expired", expiries=(Expiry(nth=3), Expiry(nth=1, request_type="Sample")), steps=4, samples=2
    ),
    "a session that is lost": case("session-lost", lost_sessions=(LostSession(nth=4),)),
    "a restart": case(
        "promise-expired", "unreachable", outages=(Outage(nth=3, length_s=1.2, how="restarted", after_s=0.02),), steps=5
    ),
    "an account that does not pay": case(
        "billing-hold", submit_faults=(SubmitFault(nth=3, status=402, message="unpaid"),), steps=4
    ),
}


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    made = Trainer()
    yield made
    made.close()


@pytest.mark.parametrize("name", CASES)
def test_what_was_recorded_is_what_was_injected(trainer: Trainer, tmp_path: Path, name: str) -> None:
    given = CASES[name]
    scenario = Scenario(name=name, seed=3, compute_s=COMPUTE_S, poll_hold_s=0.5, **given.faults)
    run = trainer.run(scenario, tmp_path, steps=given.steps, samples=given.samples)
    diagnosis = diagnose(run.tape)

    assert_owned(diagnosis, run, given.causes)
    assert_told(list(open_tape(run.tape)), run)
    wrong, compared = outside(run, view_of(run)[0])
    assert not wrong and compared >= 15, wrong
    report = diagnosis.report
    assert sum(part.seconds for part in report.parts) == pytest.approx(report.wall_s, rel=1e-3)
    assert all(sum(step.parts.values()) == pytest.approx(step.wall_s, rel=1e-3) for step in report.steps)


def assert_owned(diagnosis: Diagnosis, run: Run, causes: frozenset[str]) -> None:
    """Every cause is found, with its owner, and no other; a machine that was too busy for a stretch may hide it."""
    found = {finding.cause: finding.owner for finding in diagnosis}
    may_miss = {"slow-service"} if run.starved_ns(0, 1 << 62) > 50 * MS else set()

    assert true_causes(run) == causes
    assert found.keys() <= causes and causes - found.keys() <= may_miss, [finding.summary for finding in diagnosis]
    assert all(owner == OWNERS[cause] for cause, owner in found.items())


def assert_told(events: list[Event], run: Run) -> None:
    """Attempts, their statuses and lengths, failures and pauses: as many as there were, and as long."""
    exchanges = [event for event in events if event.name == "tinker.http.request.stop"]
    refused = Counter(line["status"] for line in run.said("fault") if line["status"])
    statuses = Counter(event.metadata["status_code"] for event in exchanges if is_of_call(event))
    assert {status: statuses[status] for status in refused} == refused
    broken = [line for line in run.said("broken") if line["how"] != "garbled"]
    lost = [event for event in events if event.name == "tinker.http.request.exception" and is_of_call(event)]
    assert len(lost) == len(broken) if not run.said("outage") else lost
    assert len([event for event in events if event.name == "tinker.queue.pause"]) == len(run.said("paused"))
    ended = [event for event in events if event.name.startswith("tinker.training.") and event.name.endswith("ption")]
    assert len(ended) == len(run.failed)
    assert_obeyed(events, run)
    wrong, compared = differing(exchanges, run)
    assert len(wrong) <= UNSEEN * compared and compared >= 10, wrong


def assert_obeyed(events: list[Event], run: Run) -> None:
    """A Retry-After that was sent is what the SDK waited, and what was recorded of it."""
    asked = {rate["status"]: rate["retry_after_s"] for rate in run.truth[0]["scenario"]["status_rates"]}
    sent = [asked[line["status"]] for line in run.said("fault") if asked.get(line["status"])]
    waited = [
        event.measurements["delay"] / 1e9
        for event in events
        if event.name == "tinker.retry" and asked.get(event.metadata["status_code"])
    ]
    late_s = 0.005 + run.starved_ns(0, 1 << 62) / 1e9
    assert bool(sent) == any(asked.values())
    assert waited == pytest.approx(sent, abs=late_s)


def is_of_call(event: Event) -> bool:
    return event.metadata.get("operation_id") is not None


def differing(exchanges: list[Event], run: Run) -> tuple[list[tuple[Any, ...]], int]:
    """The exchanges whose recorded length is neither within 2 % nor 5 ms of the service's own; and how many."""
    truth: dict[tuple[str, bool], list[dict[str, Any]]] = defaultdict(list)
    for line in run.said("exchange"):
        if line.get("request_id"):
            truth[line["request_id"], "retrieve" in line["path"]].append(line)
    opened, wrong, compared = connections(run), [], 0
    for event in exchanges:
        known = truth[event.metadata.get("request_id") or "", "retrieve" in event.metadata["path"]]
        if not known:
            continue
        line, seen_ns = known.pop(0), event.measurements["duration"]
        true_ns = line["at_ns"] - line["headers_ns"]
        began = event.measurements["monotonic_time"] - seen_ns
        spare_ns = run.starved_ns(began, line["at_ns"]) + int(event.measurements.get("starved") or 0)
        spare_ns += CONNECT_NS if line["headers_ns"] in opened else 0
        compared += 1
        if abs(seen_ns - true_ns) > max(5 * MS, true_ns // 50) + spare_ns:
            wrong.append((event.metadata["path"], line["status"], seen_ns / MS, true_ns / MS, spare_ns / MS))
    return wrong, compared
