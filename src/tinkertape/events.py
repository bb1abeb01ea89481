"""The catalogue: every event that tinkertape's own sources execute, declared once.

`docs/events.md` is made from it, `tinkertape events` lists it. Durations are integers in nanoseconds of one clock,
`time.perf_counter_ns`; a span's start has `monotonic_time` and `system_time`, its ends `duration` and `monotonic_time`,
so that a span began at `monotonic_time - duration` of its end. `status` is "success" or "error" on every end, the
number is `status_code`. `path` is a route with its ids replaced; the real one is `url_path`, on the tape only. Every
event of one public call carries its `operation_id`.

Long because it is one list.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tinkertape.bus import Attachment, Dispatch, default_bus, event_name
from tinkertape.context import declare_severity
from tinkertape.dispatch import Tell, tell_of
from tinkertape.errors import AlreadyDeclared, EventNameError
from tinkertape.wire import SEVERITIES

_EMPTY: Mapping[str, Any] = {}
_catalogue: dict[str, EventType] = {}
_declared: dict[str, weakref.ref[EventType]] = {}


class EventType:
    """The declaration of an event: its name, what it measures, its context, its severity.

    `measurements` and `metadata` map each key to what it means ("nanoseconds of perf_counter", …); a key in both is
    refused, since both lie flat on the wire. The hot form is `if EVENT.handlers: EVENT.execute({...}, {...})`: one
    branch, and nothing built, when nobody listens. It belongs to the default bus. Raises `EventNameError`,
    `AlreadyDeclared` while there is another of this name that says something else, and `ValueError` for a severity that
    is none of DEBUG, INFO, WARNING, ERROR, CRITICAL.
    """

    __slots__ = (
        "__weakref__",
        "declared_at",
        "description",
        "execute",
        "handlers",
        "measurements",
        "metadata",
        "name",
        "severity",
        "tell",
    )

    def __init__(
        self,
        name: str | Sequence[str],
        *,
        measurements: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        severity: str | None = None,
        description: str = "",
    ) -> None:
        self.name = event_name(name)
        for what, given in (("measurements", measurements), ("metadata", metadata)):
            if not isinstance(given, Mapping | None):
                raise TypeError(f"cannot declare {self.name}: {what} say by key what it means, got {given!r}")
        self.measurements = dict(measurements or {})
        self.metadata = dict(metadata or {})
        both = sorted(set(self.measurements) & set(self.metadata))
        if both:
            raise EventNameError(f"cannot declare {self.name}: {both[0]!r} is both a measurement and metadata")
        self.severity = severity or ("ERROR" if self.name.endswith(".exception") else "INFO")
        self.description = description
        if self.name != self.name.lower():
            raise EventNameError(f"cannot declare {self.name}: a declared name is lower-case")
        if self.severity not in SEVERITIES:
            raise ValueError(f"cannot declare {self.name}: unknown severity {severity!r}; use {', '.join(SEVERITIES)}")
        caller = sys._getframe(1)
        self.declared_at = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        self._declare()
        declare_severity(self.name, self.severity)
        self.handlers: tuple[Attachment, ...] = ()
        self.execute: Dispatch  # (measurements, metadata={}): on the default bus, in this thread; never raises
        # (describe, subject): `execute` of our own sources (tape/told.py): nobody changes any more what
        # `describe(subject)` says, and that is text, whole numbers, booleans, None and flat lists
        self.tell: Tell
        default_bus.keep_current(self)

    def _declare(self) -> None:
        """Take the name, unless one that says something else has it. No lock: a signal's handler may declare, too."""
        other = _declared.setdefault(self.name, weakref.ref(self))()
        if other is None:  # it was dropped
            _declared[self.name] = weakref.ref(self)
            return
        fields = ("measurements", "metadata", "severity", "description")
        unlike = [field for field in fields if getattr(self, field) != getattr(other, field)]
        if unlike:
            mine, others = (repr(getattr(each, unlike[0])) for each in (self, other))
            raise AlreadyDeclared(
                f"cannot declare {self.name} at {self.declared_at}: {other.declared_at} did, with other "
                f"{' and '.join(unlike)} ({others}, not {mine}); declare it once and import it"
            )

    def inform(self, handlers: tuple[Attachment, ...], execute: Dispatch) -> None:
        """The bus says who listens."""
        self.handlers, self.execute = handlers, execute
        self.tell = tell_of(self.name, handlers, execute)

    def __repr__(self) -> str:
        return f"EventType({self.name!r})"


class SpanEvents(msgspec.Struct, frozen=True):
    """The three events of one span."""

    start: EventType
    stop: EventType
    exception: EventType


_BEGAN = {"monotonic_time": "ns of perf_counter at the begin", "system_time": "ns since the epoch at the begin"}
_ENDED = {"duration": "ns", "monotonic_time": "ns of perf_counter at the end"}
_FAILED = {
    "kind": "error, or exit for what is no Exception",
    "reason": "the exception's text",
    "error_type": "the exception's class",
    "stacktrace": "the traceback as text",
    "status": "error",
}
_CALL = {"operation_id": "number of the public call in this process", "operation": "the public call's name"}
_STARVED = {"starved": "ns that the threads of the exchange waited for a processor: its stamps may be as late"}
_FAULT = {
    "fault_owner": "user, client, network, service or unknown",
    "fault_kind": "what kind of mistake",
    "is_user_error": "by the specification's rule",
    "error_category": "the service's word: user, server, unknown",
    "status_code": "HTTP status",
}


def _event(
    name: str,
    description: str,
    measurements: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    severity: str | None = None,
) -> EventType:
    declared = EventType(name, measurements=measurements, metadata=metadata, severity=severity, description=description)
    _catalogue[declared.name] = declared
    return declared


def _span(
    prefix: str,
    description: str,
    measurements: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    severity: str | None = None,
) -> SpanEvents:
    ends = {**_ENDED, **(measurements or {})}
    known = metadata or {}
    return SpanEvents(
        _event(f"{prefix}.start", f"{description}: begins", _BEGAN, known, severity),
        _event(f"{prefix}.stop", f"{description}: ended", ends, {**known, "status": "success"}, severity),
        _event(f"{prefix}.exception", f"{description}: failed", ends, {**known, **_FAILED}),
    )


_OPERATION_MEASUREMENTS = {
    "call_duration": "ns inside the public call",
    "datum_count": "datums handed over",
    "token_count": "tokens in them",
    "payload_bytes": "bytes of the request bodies",
    "prompt_tokens": "tokens of the prompt",
    "sampled_tokens": "tokens that came back",
    "sample_count": "sequences asked for",
    "cache_hit_tokens": "prompt tokens that the service had cached",
    "retry_count": "retries on any layer",
    "poll_count": "questions whether it is ready",
    "pause_duration": "ns in a paused queue",
}
_OPERATION_METADATA = {
    **_CALL,
    "client": "ServiceClient, TrainingClient, SamplingClient, RestClient or AdminClient",
    "thread": "ident of the calling thread",
    "thread_name": "its name",
    "loop": "id of the running event loop of the caller, if any",
    "model_id": "the service's id of the trained model",
    "base_model": "the model it began from",
    "loss_fn": "name of the loss function",
    "sampling_session_id": "the service's id of the sampler",
    "request_ids": "the API requests that it became",
    "stop_reasons": "why each sequence ended",
    **_FAULT,
}

FAMILIES = {
    "training": (
        "forward",
        "forward_backward",
        "forward_backward_custom",
        "optim_step",
        "save_state",
        "load_state",
        "load_state_with_optimizer",
        "save_weights_for_sampler",
        "save_weights_and_get_sampling_client",
    ),
    "sampling": ("sample", "compute_logprobs"),
    "service": (
        "create_lora_training_client",
        "create_training_client_from_state",
        "create_sampling_client",
        "get_server_capabilities",
    ),
    "rest": ("get_training_run", "list_training_runs", "list_checkpoints"),
    "admin": (),
}
"""The calls that are declared up front; any other public call of these clients is declared when it is first seen."""

_operations: dict[tuple[str, str], SpanEvents] = {}


def operation_events(family: str, operation: str) -> SpanEvents:
    """The three events of one public call, `tinker.<family>.<operation>.*`, declared on first use."""
    known = _operations.get((family, operation))
    if known is None:
        known = _operations[family, operation] = _span(
            f"tinker.{family}.{operation}",
            f"one call of {operation} ({family})",
            _OPERATION_MEASUREMENTS,
            _OPERATION_METADATA,
        )
    return known


for _family, _names in FAMILIES.items():
    for _name in _names:
        operation_events(_family, _name)

SUBMIT = _span(
    "tinker.submit",
    "from handing a request to the SDK's loop until the service accepted it, once an outer attempt",
    {
        "serialise_duration": "ns of encoding",
        "attempts": "HTTP attempts in it",
        "attempt": "number of the outer attempt",
        **_STARVED,
    },
    {
        **_CALL,
        "submission_id": "number of the request in this process",
        "request_id": "the service's id, once accepted",
    },
)
REQUEST = _span(
    "tinker.request",
    "one API future, until its result is decoded",
    {
        "roundtrip_duration": "ns from submission to acceptance, as the SDK tells the service",
        "data_size": "bytes of the request body",
        "iterations": "polls",
    },
    {
        **_CALL,
        "request_id": "the service's id",
        "request_type": "ForwardBackward, OptimStep, Sample, …",
        "model_id": "the service's id of the model",
        "error": "text of the failure",
        **_FAULT,
    },
)
POLL = _span(
    "tinker.future.poll",
    "one question whether a request is ready (the first begins with its `tinker.http.request.start`, and has no other)",
    {
        "headers_duration": "ns until the answer's headers",
        "iteration": "number of the poll",
        "elapsed": "ns since accepted",
        **_STARVED,
    },
    {
        **_CALL,
        "request_id": "the service's id",
        "request_type": "ForwardBackward, OptimStep, Sample, …",
        "outcome": "pending, ready, failed, metadata or error",
        "queue_state": "active, paused_capacity or paused_rate_limit",
        "queue_state_reason": "the service's text",
        "status_code": "HTTP status",
        "should_retry": "does the SDK ask again",
    },
    severity="DEBUG",
)
RESULT_READY = _event(
    "tinker.result.ready",
    "a result is decoded on the SDK's loop and handed to its future",
    {"decode_duration": "ns from the body's last byte to the decoded result", "monotonic_time": "ns of perf_counter"},
    {**_CALL, "request_id": "the service's id"},
)
CLAIM = _span(
    "tinker.claim",
    "your code waits for an operation's result",
    {"thread_cpu": "ns of this thread's CPU time while waiting"},
    {
        **_CALL,
        "claim_id": "number of the wait",
        "thread": "ident of the waiting thread",
        "loop": "id of its event loop, if any",
    },
)
QUEUE_PAUSE = _event(
    "tinker.queue.pause",
    "the service said that a request's queue is held",
    {
        "monotonic_time": "ns of perf_counter of the answer",
        "since": "ns of perf_counter of the answer before: it began after",
    },
    {
        **_CALL,
        "request_id": "the service's id",
        "model_id": "the service's id of the model",
        "reason": "capacity, rate_limit or unknown",
        "reason_text": "the service's text",
    },
    "WARNING",
)
QUEUE_RESUME = _event(
    "tinker.queue.resume",
    "the queue goes on, or the request finished",
    {
        "monotonic_time": "ns of perf_counter of the answer",
        "duration": "ns that the pause lasted, as best known",
        "duration_min": "ns at least",
        "duration_max": "ns at most",
    },
    {
        **_CALL,
        "request_id": "the service's id",
        "model_id": "the service's id of the model",
        "reason": "capacity, rate_limit or unknown",
        "reason_text": "the service's text",
    },
)
HTTP_REQUEST = _span(
    "tinker.http.request",
    "one attempt on the network",
    {
        "headers_duration": "ns until the answer's headers",
        "request_bytes": "bytes of the body sent",
        "response_bytes": "bytes of the body received",
        "attempt": "number of the HTTP client's retry, from 0",
        **_STARVED,
    },
    {
        **_CALL,
        "http_id": "number of the attempt in this process",
        "submission_id": "the request that it submits",
        "request_id": "the service's id: asked for, or answered",
        "method": "HTTP method",
        "path": "route, ids replaced",
        "url_path": "the real path",
        "pool": "the SDK's connection pool",
        "transport": "class of the transport",
        "status_code": "HTTP status",
        "error": "text of the failure",
    },
)
RETRY = _event(
    "tinker.retry",
    "something failed and is tried again after a delay",
    {"attempt": "number of the failed attempt", "delay": "ns waited"},
    {
        **_CALL,
        "submission_id": "the request",
        "error_type": "the exception's class",
        "status_code": "HTTP status",
        "layer": "http, submit, sampling or poll",
    },
    "WARNING",
)
HEARTBEAT = _span(
    "tinker.session.heartbeat",
    "the SDK tells the service that the session lives",
    {"gap": "ns since the heartbeat before"},
    {"session_id": "the service's id", "status_code": "HTTP status"},
)
SESSION_CREATE = _event(
    "tinker.session.create",
    "the service issued a session",
    {"duration": "ns", "monotonic_time": "ns of perf_counter"},
    {"session_id": "the service's id", "status": "success or error", "sdk_version": "the SDK's version"},
)
SESSION_FINISH = _event(
    "tinker.session.finish",
    "the SDK closed a session",
    {"duration": "ns", "monotonic_time": "ns of perf_counter"},
    {"session_id": "the service's id", "status": "success or error"},
)
SDK_EVENT = _event(
    "tinker.sdk.event",
    "what the SDK itself logs, seen before it batches",
    {},
    {
        "event": "GENERIC_EVENT, SESSION_START, …",
        "event_name": "the SDK's name",
        "severity": "the SDK's severity",
        "session_id": "the service's id",
        "session_index": "the SDK's number",
        "accepted": "did the SDK's queue take it",
        "data": "its data, secrets removed",
    },
    "DEBUG",
)
CONTENT = _event(
    "tinker.content",
    "tokens of a prompt, a datum or a sampled sequence; only if asked for: `instrument.tinker.install(content=True)`",
    {"count": "tokens"},
    {
        **_CALL,
        "role": "prompt, datum or sequence",
        "number": "its place in the batch, or among the sequences",
        "tokens": "the tokens' numbers",
    },
    "DEBUG",
)
LOOP_BUSY = _event(
    "process.loop.busy",
    "an event loop ran callbacks for 5 ms or more at a stretch",
    {"duration": "ns", "monotonic_time": "ns of perf_counter at its end"},
    {"loop": "id of the loop", "owner": "sdk or user"},
    "DEBUG",
)
PROCESS_MEMORY = _event(
    "process.memory",
    "how much memory the process has",
    {
        "rss": "bytes in memory",
        "peak": "bytes, the most there ever were",
        "uss": "bytes that would be free if it ended; read seldom where that is dear",
    },
    severity="DEBUG",
)
PROCESS_CPU = _event(
    "process.cpu",
    "the processor time that the process has used",
    {
        "user": "ns in its own code since it began",
        "system": "ns in the kernel since it began",
        "share": "processors used since the measurement before: 1.0 is one, all the time",
        "voluntary_switches": "times that a thread gave its processor up since it began",
        "involuntary_switches": "times that one was taken from it",
    },
    severity="DEBUG",
)
PROCESS_COUNTS = _event(
    "process.counts",
    "what the process has open, and may have",
    {
        "threads": "threads, those of libraries included",
        "python_threads": "threads that Python knows",
        "open_files": "file descriptors",
        "open_files_max": "file descriptors allowed",
    },
    severity="DEBUG",
)
PROCESS_GC = _event(
    "process.gc",
    "what the collector of cycles did since the measurement before, for each generation that collected",
    {
        "collections": "how often",
        "collected": "objects freed",
        "uncollectable": "objects found and not freed",
        "pause": "ns that the program was held up, in all",
        "pause_max": "ns of the longest",
    },
    {"generation": "0, 1 or 2"},
    "DEBUG",
)
PROCESS_RUN_QUEUE = _event(
    "process.run_queue",
    "what is ready to run and has to wait",
    {
        "total": "cpu and io",
        "cpu": "threads that want a processor",
        "io": "callbacks that are ready in all event loops",
        "loops": "event loops that run",
        "lag": "ns, the longest that a loop took to run what it was just given",
    },
    severity="DEBUG",
)
PROCESS_LOOP = _event(
    "process.loop",
    "one event loop that runs",
    {"ready": "callbacks that are ready", "lag": "ns that it took to run what it was just given"},
    {"loop": "id of the loop", "thread": "ident of its thread", "thread_name": "its name", "owner": "sdk or user"},
    "DEBUG",
)
THREAD_WAIT = _event(
    "process.thread.wait",
    "a thread that uses the SDK waited, as samples of its frames saw, and no claim said for what",
    {
        "duration": "ns, so far if it goes on",
        "monotonic_time": "ns of perf_counter at its end, or of the last sample",
        "uncertainty_begin": "ns by which its begin may be off: half the gap between two samples",
        "uncertainty_end": "ns by which its end may be off",
    },
    {
        "thread": "ident of the waiting thread",
        "thread_name": "its name",
        "method": "where it waits: concurrent.futures.wait, threading.Thread.join, queue.Queue.get, asyncio, …",
        "wait_id": "number of the wait",
        "goes_on": "true: told as it grows, after about 1, 2, 4 … s, then each 10 s",
    },
    "DEBUG",
)
PROCESS_STALL = _event(
    "process.stall",
    "nobody could run for 50 ms or more: one thread held the GIL, or a callback held its event loop",
    {
        "duration": "ns, at least",
        "duration_max": "ns, at most",
        "cpu": "ns of processor time that the holder of the GIL used, from a little before",
        "monotonic_time": "ns of perf_counter at its end",
        "left_out": "stalls since the last that was told which were not: there were too many",
        "left_out_duration": "ns that those took",
    },
    {
        "cause": "gil, gc (the collector of cycles), starved (the holder had no processor), contention, unknown, loop",
        "thread": "ident of the thread that held it, if it was one",
        "thread_name": "its name",
        "loop": "id of the event loop that it runs, if it is watched",
        "owner": "that loop's: sdk or user",
        "stack": "its stack, innermost first: file:line in function",
        "stack_taken": "during: in the stall; after: in the instant that it ended, the call has just returned",
    },
)
PROCESS_STALL_WINDOW = _event(
    "process.stall.window",
    "a second in which the fine probe was late: many short waits for the GIL, or for a processor",
    {
        "duration": "ns from its begin to its end",
        "wakes": "how often it woke: each 20 ms while something is in flight",
        "count": "how often it was over 2 ms late",
        "total": "ns that these were late",
        "longest": "ns of the latest",
        "starved": "ns that it waited for a processor, of all its wakes: the machine, not the GIL",
        "monotonic_time": "ns of perf_counter at its end",
    },
    severity="DEBUG",
)
CLOCK_TICK = _event(
    "clock.tick",
    "time passes: each second while something is in flight, else each 10",
    {"monotonic": "ns of perf_counter", "wall": "ns since the epoch"},
    severity="DEBUG",
)
CLOCK_GAP = _event(
    "clock.gap",
    "the process stood still between two ticks: suspended, or starved",
    {"monotonic": "ns of perf_counter", "duration": "ns longer than the tick's period"},
)
POLLER_FAILURE = _event(
    "poller.measurement.failure",
    "a measurement of a poller failed; it is tried again after a pause that doubles",
    {"failures": "in a row", "delay": "ns until it is tried again", "monotonic_time": "ns of perf_counter"},
    {
        "measurement": "its name in the poller",
        "kind": "error, or exit for what is no Exception",
        "error_type": "the exception's class",
        "reason": "the exception's text",
        "stacktrace": "the traceback as text",
    },
    "WARNING",
)
TELEMETRY_SESSION_START = _event(
    "telemetry.session.start",
    "recording began; SESSION_START on the wire",
    {"monotonic_time": "ns of perf_counter", "system_time": "ns since the epoch"},
    {"run_name": "the run's name"},
)
TELEMETRY_SESSION_STOP = _event(
    "telemetry.session.stop",
    "recording ended; SESSION_END on the wire",
    {"duration": "ns", "monotonic_time": "ns of perf_counter"},
    {
        "status": "success, errored or interrupted; a process that was killed has no such event",
        "exit_status": "what a shell sees, where that is known; 130 and 143 are SIGINT and SIGTERM",
    },
)
_EXCEPTION = {
    "exception_type": "the exception's class",
    "exception_message": "its text",
    "traceback": "as text",
    "fault_owner": "user, client, network, service or unknown",
    "is_user_error": "by the specification's rule",
    "error_category": "the service's word for a failed request",
}
TELEMETRY_EXCEPTION = _event(
    "telemetry.exception",
    "an exception that ends the program; UNHANDLED_EXCEPTION on the wire",
    {},
    {**_EXCEPTION, "recorded_as": "the event that told it before, exception.<function>, where one did"},
    "ERROR",
)
HTTP = _span(
    "http.request",
    "one exchange of an HTTP client that is not the Tinker SDK's; from instrument.httpx and instrument.requests",
    {
        "headers_duration": "ns until the answer's headers",
        "request_bytes": "bytes of the body sent, where it is no stream",
        "response_bytes": "bytes of the body received, as they came over the network",
    },
    {
        "client": "httpx or requests",
        "method": "HTTP method",
        "host": "host name, without port, user and password",
        "path": "route: what may be an id is {id}; never a query",
        "status_code": "HTTP status",
        "error": "text of the failure",
    },
)
LOG_RECORD = _event(
    "log.record",
    "a record of the program's loggers, with the severity of its level; from instrument.logging",
    {},
    {
        **_EXCEPTION,
        "logger": "the logger's name",
        "level": "the level's name",
        "message": "the text, 4000 characters at most",
        "file": "name of the file that logged it",
        "line_number": "line in it",
        "function": "name of the function",
        "thread": "the thread's name",
    },
    "WARNING",
)
EXCEPTION_THREAD = _event(
    "exception.thread",
    "an exception that nobody caught ended a thread; from instrument.exceptions",
    {},
    {**_EXCEPTION, "thread_name": "the thread's name"},
    "ERROR",
)
EXCEPTION_ASYNCIO = _event(
    "exception.asyncio",
    "an event loop was given an exception that nobody awaits; from instrument.exceptions",
    {},
    {
        **_EXCEPTION,
        "message": "asyncio's words",
        "task": "the task's name, if it was one",
        "loop": "id of the event loop",
    },
    "ERROR",
)
EXCEPTION_UNRAISABLE = _event(
    "exception.unraisable",
    "an exception where none can be raised, as in __del__; from instrument.exceptions",
    {},
    {**_EXCEPTION, "message": "Python's words", "where": "the function or class that it was ignored in"},
    "WARNING",
)
DIAGNOSIS_FINDING = _event(
    "diagnosis.finding",
    "a detector found a cause while the program runs, saw it end, or saw its cost double (`watch=True`)",
    {
        "cost": "ns that it cost up to now, as the detector knows it",
        "since": "ns of perf_counter when it began",
        "monotonic_time": "ns of perf_counter of the event that told it",
    },
    {
        "cause": "the detector's code: capacity-pause, slow-service, …",
        "owner": "you, network, service or none",
        "severity": "info, warning or error",
        "summary": "one sentence",
        "state": "open: it goes on; over",
        "step": "the step that is being taken, if there are steps",
        "request_ids": "the service's ids of requests that it touched, 20 at most",
        "key": "the same for a finding that is told again",
    },
    "WARNING",
)


def is_declared(name: str) -> bool:
    """Is this the name of one event of the catalogue?"""
    return name in _catalogue


def catalogue() -> list[EventType]:
    """Every event that is declared here or was met by a source of ours, by name."""
    return [_catalogue[name] for name in sorted(_catalogue)]
