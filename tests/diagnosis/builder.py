"""Hand-made tapes: events of calls whose every stamp the test chose. Times are milliseconds from the run's begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinkertape.context import Event

MS = 1_000_000
BEGAN = 50_000_000_000  # perf_counter at 0 ms
WALL = 1_764_000_000_000_000_000
USER, SDK = 11, 22  # threads


@dataclass
class Call:
    """The stamps of one call that was made; ended is D."""

    operation_id: int
    ended: float
    request_id: str


class Script:
    """Writes down what happened in one process; `events()` gives it in order."""

    def __init__(self, process: str = "0123456789abcdef", *, wall_offset: int = 0, monotonic: int = BEGAN) -> None:
        self.process = process
        self._monotonic = monotonic
        self._wall = WALL + wall_offset
        self._events: list[tuple[float, int, str, dict[str, Any], dict[str, Any], dict[str, Any]]] = []
        self._ids = 0
        self._submissions = 0
        self._claims = 0
        self._waits = 0

    def event(
        self,
        name: str,
        at: float,
        measurements: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        scope: dict[str, Any] | None = None,
    ) -> None:
        measured = {"monotonic_time": self.ns(at), **(measurements or {})}
        self._events.append((at, len(self._events), name, measured, metadata or {}, scope or {}))

    def next_id(self) -> int:
        """A number that no call has."""
        self._ids += 1
        return self._ids

    def ns(self, at: float) -> int:
        return self._monotonic + round(at * MS)

    def span(self, name: str, began: float, ended: float, metadata: dict[str, Any], **measured: Any) -> None:
        self.event(f"{name}.start", began, {"system_time": self._wall}, metadata)
        self.event(f"{name}.stop", ended, {"duration": round((ended - began) * MS), **measured}, metadata)

    def start(self, at: float = 0, name: str = "run") -> None:
        self.event("telemetry.session.start", at, {}, {"run_name": name})

    def stop(self, at: float, status: str = "success") -> None:
        self.event("telemetry.session.stop", at, {"duration": round(at * MS)}, {"status": status})

    def tick(self, at: float) -> None:
        self.event("clock.tick", at, {"monotonic": self.ns(at), "wall": self._wall + round(at * MS)})

    def busy(self, began: float, ended: float, owner: str = "sdk", loop: int = 1) -> None:
        duration = {"duration": round((ended - began) * MS)}
        self.event("process.loop.busy", ended, duration, {"owner": owner, "loop": loop})

    def stall(self, began: float, ended: float, *, cause: str = "gil", certain: float | None = None) -> None:
        least = ended - began if certain is None else certain
        measured = {"duration": round(least * MS), "duration_max": round((ended - began) * MS)}
        self.event("process.stall", ended, measured, {"cause": cause})

    def claim(
        self, call: Call, began: float, ended: float | None, *, loop: int | None = None, thread: int = USER
    ) -> None:
        self._claims += 1
        metadata = {"claim_id": self._claims, "operation_id": call.operation_id, "thread": thread, "loop": loop}
        self.event("tinker.claim.start", began, {}, metadata)
        if ended is not None:
            self.event("tinker.claim.stop", ended, {"duration": round((ended - began) * MS)}, metadata)

    def wait(
        self,
        began: float,
        ended: float,
        method: str = "threading.Thread.join",
        *,
        thread: int = USER,
        unsure: float = 2.5,
        goes_on: bool = False,
        number: int | None = None,
    ) -> int:
        """A wait that samples of a thread's frames saw; `number` is that of one that was told before, and goes on."""
        self._waits += number is None
        metadata = {"wait_id": number or self._waits, "thread": thread, "thread_name": name_of(thread)}
        edge = round(unsure * MS)
        measured = {"duration": round((ended - began) * MS), "uncertainty_begin": edge, "uncertainty_end": edge}
        self.event("process.thread.wait", ended, measured, {**metadata, "method": method, "goes_on": goes_on})
        return number or self._waits

    def poll(
        self,
        call_md: dict[str, Any],
        began: float,
        headers: float,
        ended: float,
        outcome: str,
        state: str,
        starved: float | None = None,
    ) -> None:
        metadata = {
            **call_md,
            "outcome": outcome,
            "queue_state": state,
            "status_code": 200 if outcome != "pending" else 408,
        }
        duration = round((ended - began) * MS)
        measured = {"duration": duration, "headers_duration": round((headers - began) * MS), **waited(starved)}
        self.event("tinker.future.poll.stop", ended, measured, metadata)

    def call(
        self,
        operation: str,
        at: float,
        *,
        family: str = "training",
        compute: float = 100,
        hold: float = 10_000,
        paused: tuple[float, float] | None = None,
        reason: str = "capacity",
        send: float = 3,
        serialise: float = 2,
        wait_local: float = 1,
        retrieve: float = 1,
        deliver: float = 1,
        tokens: int = 1000,
        model: str = "model-1",
        behind: float = 0,
        failure: dict[str, Any] | None = None,
        loss: float | None = None,
        step: int | None = None,
        thread: int = USER,
        open_at: float | None = None,
        starved: tuple[float, float] | None = None,
    ) -> Call:
        """One call with one request. `compute` begins at acceptance (or `behind`, when the model was free); `paused` is
        a stretch in ms after acceptance; `hold` is how long the service holds a poll; `open_at`: cut off there;
        `starved`: how long the threads of the submission, and of each poll, waited for a processor.
        """
        self._ids += 1
        self._submissions += 1
        number, submission, request = self._ids, self._submissions, f"req-{self._ids}"
        md = {"operation_id": number, "operation": operation}
        scope = {"step": step} if step is not None else {}
        start_md = {**md, "thread": thread, "thread_name": name_of(thread), "loop": None, "model_id": model}
        counts = {"datum_count": 4, "token_count": tokens} if operation != "optim_step" else {}
        c1 = at + 0.5
        e = at + 0.5 + wait_local
        s = e + serialise
        a = s + send
        self.event(f"tinker.{family}.{operation}.start", at, counts, start_md, scope)
        sub = {**md, "submission_id": submission}
        http = {**sub, "http_id": -number, "path": f"/api/v1/{operation}", "method": "POST"}
        self.event("tinker.submit.start", e, {"attempt": 0}, sub)
        self.event("tinker.http.request.start", s, {}, http)
        kept = waited(starved and starved[0])
        ended_http = {"duration": round((a - s) * MS), "headers_duration": round((a - s) * MS) - 1000, **kept}
        self.event("tinker.http.request.stop", a, ended_http, {**http, "request_id": request, "status_code": 200})
        encoded = round(serialise * MS)
        submitted = {"duration": round((a - e) * MS), "serialise_duration": encoded, "attempts": 1, **kept}
        self.event("tinker.submit.stop", a, submitted, {**sub, "request_id": request})
        req = {**md, "request_id": request, "request_type": operation, "model_id": model}
        self.event("tinker.request.start", a, {}, req)
        ready = max(a, behind) + compute + (paused[1] - paused[0] if paused else 0)
        late = starved and starved[1]
        h = self._polls(req, a, ready, hold, paused, reason, retrieve, failure is not None, open_at, late)
        q = h + retrieve
        d = q + deliver
        if open_at is not None and d > open_at:
            return Call(number, open_at, request)
        self.event("tinker.result.ready", d, {"decode_duration": round(deliver * MS)}, req)
        self.event("tinker.request.stop", d, {"duration": round((d - a) * MS)}, req)
        ended = {"duration": round((d - at) * MS), "call_duration": round((c1 - at) * MS), **counts}
        if loss is not None:
            ended["loss:sum"] = loss
        end_md = {**start_md, "request_ids": [request], "status": "error" if failure else "success", **(failure or {})}
        end = "exception" if failure else "stop"
        self.event(f"tinker.{family}.{operation}.{end}", d, ended, end_md, scope)
        return Call(number, d, request)

    def _polls(
        self,
        req: dict[str, Any],
        accepted: float,
        ready: float,
        hold: float,
        paused: tuple[float, float] | None,
        reason: str,
        retrieve: float,
        failed: bool,
        open_at: float | None,
        starved: float | None,
    ) -> float:
        """Polls as a service answers them: at once when ready, else after `hold`, with the state of that moment."""
        began, seen = accepted, accepted
        pause: tuple[float, float] | None = None  # since, h of the first paused answer
        while True:
            is_ready = ready <= began + hold
            h = max(ready, began) if is_ready else began + hold
            if open_at is not None and h > open_at:
                return open_at + 1e9
            held = paused is not None and accepted + paused[0] <= h < accepted + paused[1]
            state = f"paused_{reason}" if held and not is_ready else "active"
            outcome = ("failed" if failed else "ready") if is_ready else "pending"
            q = h + (retrieve if is_ready else 0)
            self.poll(req, began, h, q, outcome, state, starved)
            if held and not is_ready and pause is None:
                pause = (seen, h)
                times = {"since": self.ns(seen)}
                self.event("tinker.queue.pause", h, times, {**req, "reason": reason, "reason_text": "no capacity"})
            elif pause is not None and state == "active":
                times = {
                    "duration": round((h - pause[0]) * MS),
                    "duration_min": round((seen - pause[1]) * MS),
                    "duration_max": round((h - pause[0]) * MS),
                }
                self.event("tinker.queue.resume", h, times, {**req, "reason": reason, "reason_text": "no capacity"})
                pause = None
            if is_ready:
                return h
            began = seen = h

    def events(self) -> list[Event]:
        out = []
        for index, (at, _, name, measured, metadata, scope) in enumerate(sorted(self._events, key=lambda e: e[:2])):
            out.append(
                Event(
                    name=name,
                    measurements=measured,
                    metadata=metadata,
                    time_ns=self._wall + round(at * MS),
                    monotonic_ns=self.ns(at),
                    scope=scope,
                    run="run-1",
                    process=self.process,
                    index=index,
                )
            )
        return out


def name_of(thread: int) -> str:
    """What a thread is called."""
    return "MainThread" if thread == USER else f"worker-{thread - USER}"


def waited(starved: float | None) -> dict[str, int]:
    """The measurement of an exchange whose threads waited for a processor; None: it was not counted."""
    return {} if starved is None else {"starved": round(starved * MS)}


def training_run(
    computes: Sequence[float],
    *,
    optim: float = 40,
    between: float = 5,
    pauses: dict[int, tuple[float, float]] | None = None,
    hold: float = 400,
    failures: dict[int, dict[str, Any]] | None = None,
) -> Script:
    """A sequential loop: forward_backward and optim_step, each claimed at once; `computes` a step."""
    script = Script()
    script.start(0)
    at = 10.0
    for number, compute in enumerate(computes, 1):
        paused = (pauses or {}).get(number)
        failure = (failures or {}).get(number)
        first = script.call(
            "forward_backward", at, compute=compute, paused=paused, hold=hold, failure=failure, loss=1.0 / number
        )
        script.claim(first, at + 1, first.ended + 0.2)
        second = script.call("optim_step", first.ended + 0.5, compute=optim, hold=hold)
        script.claim(second, first.ended + 1.5, second.ended + 0.2)
        at = second.ended + between
    script.stop(at + 200)
    return script
