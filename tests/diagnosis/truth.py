"""A process that trains against a simulated service, and what the service says of it.

Both are on one machine's clock. That this machine kept the client from running is in the bounds that it shows. That it
kept the service from running no client can see: how late the service answered is in its own stamps, and how late it
read, in the kernel's count for its process; by that much a figure may be off.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.diagnosis.training import Starvation
from tests.versions.releases import releases
from tests.versions.runs import BESIDE, path_for

from tinkertape import sim
from tinkertape.diagnosis import Diagnoser, Report
from tinkertape.diagnosis.segments import OperationCut
from tinkertape.diagnosis.view import View
from tinkertape.sim import Scenario, Sim, read_truth
from tinkertape.tape import open_tape

MS = 1_000_000
RELEASE = os.environ.get("TINKERTAPE_TESTS_RELEASE")  # "0.24.1": that SDK, which tests/versions put into its cache
MINOR = int((RELEASE or version("tinker")).split(".")[1])
CONNECT_NS = 20 * MS  # to open a connection, of which the service sees nothing


class Trainer:
    """The process that trains, for one scenario after the other: a new one, where the SDK could not close its client.

    Such a client's heartbeats go on for ever, and to the next run they are exchanges with a service that is gone.
    """

    def __init__(self) -> None:
        self._process = _trainer()

    def run(
        self,
        scenario: Scenario,
        folder: Path,
        *,
        steps: int = 0,
        pipelined: bool = False,
        samples: int = 0,
        last_only: bool = False,
        program: str = "",
        first: Callable[[Sim], None] = lambda _: None,
    ) -> Run:
        """Train, then sample so many at once; or run a program. `first` is done to the service before."""
        truth = folder / "truth.jsonl"
        here = Starvation()
        with uncollected(), sim.start(scenario, truth=truth) as service:
            first(service)
            wanted = {"steps": steps, "pipelined": pipelined, "samples": samples, "last_only": last_only}
            wanted |= {"program": program}
            order = {"url": service.url, "directory": str(folder), **wanted}
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        if answer["left_open"]:
            self.close()
            self._process = _trainer()
        return Run(Path(answer["tape"]), read_truth(truth), here.end(), tuple(answer["failed"]))

    def close(self) -> None:
        self._process.communicate(timeout=20)


def _trainer() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.diagnosis.training"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TINKER_TELEMETRY": "0", **_of_release()},
    )


def _of_release() -> dict[str, str]:
    """That SDK; and as much of torch as a custom loss needs."""
    folders = next((path_for(release) for release in releases() if release.version == RELEASE), [BESIDE])
    return {"PYTHONPATH": os.pathsep.join(map(str, folders))}


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected meanwhile: of all that the tests have loaded, it takes many milliseconds."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Run:
    """A tape, and the truth about it."""

    def __init__(
        self, tape: Path, truth: list[dict[str, Any]], starved: list[tuple[int, int]], failed: tuple[str, ...] = ()
    ) -> None:
        self.tape = tape
        self.failed = failed  # the errors that the program met
        self.truth = truth
        self._starved = starved

    def said(self, what: str, **wanted: object) -> list[dict[str, Any]]:
        return [line for line in self.truth if line["what"] == what and wanted.items() <= line.items()]

    def starved_ns(self, began: int, ended: int) -> int:
        """How long the service's process was kept from running between two instants: no client can see it."""
        times = [at for at, _ in self._starved]
        low = self._starved[max(0, bisect_right(times, began) - 1)][1]
        high = self._starved[min(len(times) - 1, bisect_left(times, ended))][1]
        return high - low


def view_of(run: Run) -> tuple[View, Report]:
    diagnoser = Diagnoser()
    for event in open_tape(run.tape):
        diagnoser.feed(event)
    report = diagnoser.report()
    view = diagnoser.view()
    assert view is not None
    return view, report


def cuts_of(view: View) -> Iterator[tuple[OperationCut, str]]:
    for operation in view.process.order:
        if len(operation.requests) == 1:
            yield view.cutter.cut(operation), operation.request_ids[0]


def outside(run: Run, view: View) -> tuple[list[tuple[Any, ...]], int]:
    """The figures whose truth lies neither within 2 % or 5 ms nor inside their bounds; and how many were compared.

    A figure may be off by what the service's own process was kept from running, too, which no client can see: nothing
    on a quiet machine; and what was sent first on a connection, by the time that it took to open it.
    """
    ready = {line["request_id"]: line for line in run.said("ready")}
    accepted = {line["request_id"]: line["at_ns"] for line in run.said("accepted")}
    submits, polls = {}, {}
    for line in run.said("exchange", status=200):
        if line.get("request_id"):
            (polls if "retrieve" in line["path"] else submits)[line["request_id"]] = line

    opened = connections(run)
    sessions = [line for line in run.said("exchange") if line["path"].endswith("/create_session")]
    wrong, compared = [], 0
    for cut, request_id in cuts_of(view):
        if request_id not in ready:
            continue  # the service forgot it
        truth, submit, poll = ready[request_id], submits[request_id], polls[request_id]
        starved = run.starved_ns(cut.operation.began_ns, cut.ended_ns)
        told_late = submit["at_ns"] - accepted[request_id] + poll["at_ns"] - max(truth["at_ns"], poll["headers_ns"])
        read_late = run.starved_ns(cut.operation.began_ns, submit["at_ns"])
        sent = submit["handled_ns"] + submit["back_ns"] - first_sent_ns(run, truth, submit)
        for made in sessions:  # within its first call, where an SDK makes it when it needs one
            if cut.operation.began_ns <= made["headers_ns"] <= submit["headers_ns"]:
                sent += made["handled_ns"] + made["back_ns"] - made["headers_ns"]
        for part, true_ns, late in (
            ("compute", truth["compute_ns"], told_late + starved),
            ("queue:capacity", truth["queue_ns"], starved),
            ("send", sent, read_late + (CONNECT_NS if submit["headers_ns"] in opened else 0)),
        ):
            seen = cut.nanoseconds(part)
            less, more = cut.doubt_ns(part)
            off = max(5 * MS, true_ns // 50) + late
            compared += 1
            if not seen - less - off <= true_ns <= seen + more + off:
                off_ms = [round(each / MS, 1) for each in (seen, true_ns, less, more, late)]
                wrong.append((cut.operation.name, part, *off_ms))
    return wrong, compared


def connections(run: Run) -> set[int]:
    """The first request of each connection, by the instant at which the service had its headers."""
    first: dict[int, int] = {}
    for line in run.said("exchange"):
        first[line["client_port"]] = min(line["headers_ns"], first.get(line["client_port"], line["headers_ns"]))
    return set(first.values())


def first_sent_ns(run: Run, ready: dict[str, Any], submit: dict[str, Any]) -> int:
    """When the service first saw a request, as far as it knows: in the exchange that took it, or one that broke or was
    refused.
    """
    known = {"request_type": ready["request_type"], "nth": ready["nth"]}
    earlier = run.said("broken", on="submit", **known) + run.said("fault", kind="submit", **known)
    return min([int(submit["headers_ns"]), *(int(line["at_ns"]) for line in earlier)])


BROKEN_MIN = 3  # what `flaky-network` begins with
SECOND = 1_000 * MS  # what a pause, an outage and the waits for a rate limit begin with
PAUSES = {"capacity": "capacity-pause", "rate_limit": "rate-limit-pause", "unknown": "rate-limit-pause"}


def in_outage(run: Run, at_ns: int) -> bool:
    """Was what broke then part of an outage to whoever looks from the client: in it, or with no answer before it?"""
    for began, ended in zip(run.said("outage"), run.said("restored"), strict=True):
        answered = [line["at_ns"] for line in run.said("exchange") if line["at_ns"] < began["at_ns"]]
        if max(answered, default=0) <= at_ns <= ended["at_ns"]:
            return True
    return False


def true_causes(run: Run) -> set[str]:
    """The causes that the truth file tells of."""
    causes = {PAUSES[line["reason"]] for line in run.said("resumed") if line["duration_ns"] >= SECOND}
    causes |= {"slow-service" for _ in run.said("slow")}
    causes |= {"unreachable" for line in run.said("restored") if line["duration_ns"] >= SECOND}
    garbled = run.said("broken", how="garbled")
    breaks = [line for line in run.said("broken") if line["how"] != "garbled" and not in_outage(run, line["at_ns"])]
    causes |= {"flaky-network"} if len(breaks) >= BROKEN_MIN else set()
    causes |= {"service-errors"} if garbled else set()
    causes |= {"promise-expired"} if run.said("expired") else set()
    causes |= {"session-lost"} if run.said("sessions_lost") else set()
    for line in run.said("fault"):
        if line["kind"] == "future":
            causes.add("user-error" if line["category"] == "user" else "service-errors")
        elif line["status"] >= 500:
            causes.add("service-errors")
        elif line["status"] in (402, 429):
            causes.add("billing-hold" if line["status"] == 402 else "rate-limit-self")
    return causes
