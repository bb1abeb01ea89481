"""One release's run of the program, and what was recorded of it beside what was done and what the service did.

Three accounts of one run: the program prints what it called and how that ended, the service writes its truth, the tape
is ours. `differences` says where the tape is not what the other two say; none may be left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.versions.releases import Release, folder_of, grpc_folder

from tinkertape import open_tape
from tinkertape.context import Event
from tinkertape.sim import FutureFault, Pause, PollFault, Scenario, Slow, SubmitFault, start
from tinkertape.sim.scenario import DEFAULT_COMPUTE_S

ROOT = Path(__file__).parents[2]
BESIDE = Path(__file__).with_name("beside")
ENDS_WITHIN_S = 110.0
AT_ONCE = 3
FAMILIES = ("service", "training", "sampling", "rest", "admin")
PAUSE_TEXT = "no machine is free for this model"
CHUNKED = "training.forward_backward"
UNSTEADY = ("/api/v1/telemetry", "/api/v1/session_heartbeat", "/api/v1/retrieve_futures")
"""Sent by the clock, or held by the service, also while the program ends."""

SWITCHED_ON = {
    "pjwt_auth_enabled": True,
    "proto_compress_fwdbwd": True,
    "proto_write_fwdbwd": True,
    "sample_join_sampling_session": True,
    "sample_use_retrieve_futures": True,
    "use_pyqwest_transport": False,
}
"""What a service may tell a client from 0.18 on to do otherwise: each release knows some."""

FAULTS = Counter(
    {
        ("pause", "forward_backward", "capacity", PAUSE_TEXT): 1,
        ("retry", "optim_step", "http", 503): 1,
        ("retry", "forward_backward", "poll", 503): 1,
        ("retry", "sample", "sampling", 429): 1,
        ("retry", "sample", "sampling", 410): 1,
        ("failed", "forward_backward", "RequestFailedError", "user"): 1,
        ("timed out", "optim_step"): 1,
    }
)
"""What goes wrong in the run, as the tape tells it: the same for every release."""


def scenario(*, switched_on: bool = False) -> Scenario:
    """Six steps and three samples meet one fault each, at most; all else is quick."""
    return Scenario(
        name="versions",
        client_config=SWITCHED_ON if switched_on else {},
        compute_s=dict.fromkeys(DEFAULT_COMPUTE_S, 0.002),
        poll_hold_s=0.3,
        pauses=(Pause(nth=2, length_s=1.0, text=PAUSE_TEXT),),  # a busy machine must find it still there
        submit_faults=(
            SubmitFault(nth=3, status=503, request_type="OptimStep", retry_after_s=0.05),
            SubmitFault(nth=2, status=429, request_type="Sample"),
        ),
        future_faults=(FutureFault(nth=4, category="user", message="datum 0 is too long"),),
        poll_faults=(
            PollFault(nth=5, status=503),
            PollFault(nth=3, status=410, request_type="Sample"),
        ),
        slow=(Slow(first=5, last=5, factor=500, request_types=("OptimStep",)),),
    )


@dataclass(frozen=True)
class Observed:
    """A run of one release: the program's own account, the service's truth, and the tape."""

    release: Release
    account: dict[str, Any]
    truth: list[dict[str, Any]]
    events: list[Event]

    def operations(self) -> Counter[Hashable]:
        """Recorded ends of public calls: name and outcome."""
        return Counter((name, outcome) for name, outcome, _ in self.ends())

    def ends(self) -> Iterator[tuple[str, str, Event]]:
        for event in self.events:
            parts = event.name.split(".")
            if len(parts) == 4 and parts[1] in FAMILIES and parts[3] in ("stop", "exception"):
                outcome = "success" if parts[3] == "stop" else event.metadata["error_type"]
                yield f"{parts[1]}.{parts[2]}", outcome, event

    def named(self, *names: str) -> Iterator[Event]:
        return (event for event in self.events if event.name in names)

    def lines(self, what: str) -> Iterator[dict[str, Any]]:
        return (line for line in self.truth if line["what"] == what)


def path_for(release: Release) -> list[Path]:
    """What lies before the installed packages: the release, and what it imports and they lack."""
    return [folder_of(release), BESIDE, *([grpc_folder()] if release.needs_grpc else [])]


def observe(release: Release, folder: Path, *, switched_on: bool = False) -> Observed:
    """Run the program with a release, recorded, against a service of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with start(scenario(switched_on=switched_on), truth=folder / "truth.jsonl") as sim:
        account = run_program("program.py", release, sim.url, folder)
        truth = sim.truth_lines()
    [tape] = (path.parent for path in (folder / "tapes").rglob("*.jsonl"))
    return Observed(release, account, truth, list(open_tape(tape)))


def run_program(name: str, release: Release, url: str, folder: Path) -> dict[str, Any]:
    """What a program of this folder says of itself, run with a release against a service; its tapes are in `folder`."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("TINKER", "COV_"))},
        "TINKER_BASE_URL": url,
        "TINKER_API_KEY": "tml-versions",
        "TINKER_PROJECT_ID": "a-project",
        "PYTHONPATH": os.pathsep.join(map(str, [*path_for(release), ROOT])),
    }
    command = [sys.executable, str(Path(__file__).with_name(name)), str(folder / "tapes")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False)
    if done.returncode:
        raise AssertionError(f"{name} failed with tinker {release.version}:\n{done.stderr[-3000:]}")
    account: dict[str, Any] = json.loads(done.stdout)
    return account


def observe_all(wanted: Sequence[Release], folder: Path, *, switched_on: bool = False) -> dict[str, Future[Observed]]:
    """Begin the runs of some releases, some at once: a run waits as long as it works."""
    pool = ThreadPoolExecutor(AT_ONCE)
    place = folder / ("switched-on" if switched_on else "plain")
    running = {
        release.version: pool.submit(observe, release, place / release.version, switched_on=switched_on)
        for release in wanted
    }
    pool.shutdown(wait=False)
    return running


def differences(observed: Observed) -> list[str]:
    """Where the tape differs from what the program did or the service saw; and what the run's faults lack."""
    account = observed.account
    said = Counter((call["operation"], call["outcome"]) for call in account["calls"])
    return [
        *([f"is tinker {account['release']}"] if account["release"] != observed.release.version else []),
        *(f"never called: {form}" for form in account["left_out"]),
        *_unlike("operation", said, observed.operations()),
        *_unlike("request", _requests_served(observed), _requests_recorded(observed)),
        *_unlike("poll", _polls_served(observed), _polls_recorded(observed)),
        *_unlike("exchange", _exchanges_served(observed), _exchanges_recorded(observed)),
        *_unlike("pause", _pauses_served(observed), _pauses_recorded(observed)),
        *_unlike("fault", FAULTS, faults_recorded(observed)),
        *_unlike("metrics", _metrics_returned(observed), _metrics_recorded(observed)),
        *_unseen_waits(observed),
        *_sent_whole(observed),
        *_ended_early(observed),
        *_badly_served(observed),
        *_left_open(observed),
    ]


def _unlike(what: str, wanted: Counter[Hashable], found: Counter[Hashable]) -> Iterator[str]:
    for key in {**wanted, **found}:
        if wanted[key] != found[key]:
            yield f"{what} {key}: {found[key]} recorded, {wanted[key]} happened"


def _requests_served(observed: Observed) -> Counter[Hashable]:
    failed = {line["request_id"] for line in observed.lines("ready") if line["failed"]}
    expired = {line["request_id"] for line in observed.lines("fault") if line["status"] == 410}
    lost = failed | expired
    return Counter(
        (line["request_id"], line["request_type"], "failed" if line["request_id"] in lost else "done")
        for line in observed.lines("accepted")
    )


def _requests_recorded(observed: Observed) -> Counter[Hashable]:
    ends = {"tinker.request.stop": "done", "tinker.request.exception": "failed"}
    return Counter(
        (event.metadata["request_id"], event.metadata["request_type"], ends[event.name])
        for event in observed.named(*ends)
    )


def _polls_served(observed: Observed) -> Counter[Hashable]:
    return Counter(
        (line["request_id"], line["status"])
        for line in observed.lines("exchange")
        if line["path"].endswith("/retrieve_future")
    )


def _polls_recorded(observed: Observed) -> Counter[Hashable]:
    """Those that were answered: an idle connection that was closed just then is nothing that the service knows of."""
    ends = observed.named("tinker.future.poll.stop", "tinker.future.poll.exception")
    polls = ((event.metadata["request_id"], event.metadata.get("status_code")) for event in ends)
    return Counter(poll for poll in polls if poll[1] is not None)


def _exchanges_served(observed: Observed) -> Counter[Hashable]:
    return Counter(
        (line["method"], line["path"], line["status"])
        for line in observed.lines("exchange")
        if line["path"] not in UNSTEADY
    )


def _exchanges_recorded(observed: Observed) -> Counter[Hashable]:
    return Counter(
        (event.metadata["method"], event.metadata["url_path"], event.metadata["status_code"])
        for event in observed.named("tinker.http.request.stop")
        if event.metadata["url_path"] not in UNSTEADY
    )


def _pauses_served(observed: Observed) -> Counter[Hashable]:
    return Counter(request for line in observed.lines("resumed") for request in line["request_ids"])


def _pauses_recorded(observed: Observed) -> Counter[Hashable]:
    return Counter(event.metadata["request_id"] for event in observed.named("tinker.queue.resume"))


def faults_recorded(observed: Observed) -> Counter[Hashable]:
    """What went wrong, by the tape. The queue of the steps behind is held as well: how many, the clock decides."""
    found: Counter[Hashable] = Counter()
    for event in observed.named("tinker.queue.pause"):
        if event.metadata["operation"] == "forward_backward":
            found["pause", "forward_backward", event.metadata["reason"], event.metadata["reason_text"]] += 1
    for event in observed.named("tinker.retry"):
        layer, status = event.metadata["layer"], event.metadata["status_code"]
        if status is not None or layer not in ("http", "poll"):  # a connection that broke by itself
            found["retry", event.metadata["operation"], layer, status] += 1
    for event in observed.named("tinker.claim.exception"):
        if event.metadata["error_type"] == "TimeoutError":
            found["timed out", event.metadata["operation"]] += 1
    for name, outcome, event in observed.ends():
        if name == "training.forward_backward" and outcome != "success":
            found["failed", "forward_backward", outcome, event.metadata["error_category"]] += 1
    return found


def _metrics_returned(observed: Observed) -> Counter[Hashable]:
    calls = [call for call in observed.account["calls"] if call["metrics"]]
    return Counter((call["operation"], _rounded(call["metrics"])) for call in calls)


def _metrics_recorded(observed: Observed) -> Counter[Hashable]:
    """A metric has its reduction in its name, after a colon."""
    ends = ((name, _rounded(event.measurements)) for name, _, event in observed.ends())
    return Counter((name, metrics) for name, metrics in ends if metrics)


def _rounded(measurements: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, round(value, 6)) for name, value in measurements.items() if ":" in name))


def _unseen_waits(observed: Observed) -> Iterator[str]:
    """A call that handed out a future, and whose result the program asked for, has a wait on the tape."""
    ids = {event.metadata["operation_id"]: name for name, _, event in observed.ends()}
    claims = observed.named("tinker.claim.stop", "tinker.claim.exception")
    seen = Counter(ids.get(number) for number in {event.metadata["operation_id"] for event in claims})
    wanted = Counter(call["operation"] for call in observed.account["calls"] if call["waited"])
    for name, count in wanted.items():
        if seen[name] < count:
            yield f"wait for {name}: {seen[name]} recorded, {count} happened"


def _sent_whole(observed: Observed) -> Iterator[str]:
    """What goes into several requests is one call, in both of its forms."""
    counts = [len(event.metadata["request_ids"]) for name, _, event in observed.ends() if name == CHUNKED]
    if sum(count > 1 for count in counts) != 2:
        yield f"{CHUNKED}: {counts} requests, and two calls in several were made"


def _ended_early(observed: Observed) -> Iterator[str]:
    """A call ends when the last of its requests has: not before the service made it ready, by the clock of both."""
    ready_ns = {line["request_id"]: line["at_ns"] for line in observed.lines("ready")}
    for name, _, event in observed.ends():
        last_ns = max((ready_ns[request] for request in event.metadata["request_ids"]), default=0)
        early_ns = last_ns - event.measurements["monotonic_time"]
        if early_ns > 0:
            yield f"{name} ended {early_ns / 1e6:.1f} ms before its last request was ready"


def _badly_served(observed: Observed) -> Iterator[str]:
    """The service knows every path and every body of the release."""
    for line in observed.lines("exchange"):
        if line["status"] in (404, 405, 415, 422, 500):
            yield f"the service answered {line['status']} to {line['method']} {line['path']}"


def _left_open(observed: Observed) -> Iterable[str]:
    """What began and never ended: a call, a request, a poll, a wait."""
    began = Counter(event.name.removesuffix(".start") for event in observed.events if event.name.endswith(".start"))
    for prefix, count in began.items():
        if prefix.startswith("tinker."):
            ends = observed.named(f"{prefix}.stop", f"{prefix}.exception")
            ended = sum(event.measurements.get("iteration") != 0 for event in ends)  # a first poll has no start
            if ended != count and prefix not in ("tinker.http.request", "tinker.session.heartbeat"):
                yield f"{prefix}: {count} began, {ended} ended"
