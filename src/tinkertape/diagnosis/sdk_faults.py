"""What the SDK's own events tell of a run: when it was first and last heard, and what failed.

They are all there is of a program that was not recorded by us, and they tell failures, never durations. One failure is
told up to four times (facts/sdk.md D9: the poll's, the attempt's, `user_error`, the exception that nobody caught):
what is told again within two seconds, further out in the SDK, is the same fault. A poll answered 408 is the usual "not
yet", and no fault. Times are wall time: the SDK sends no other.

Bounds: a fault is kept by itself while it may be told again, among the newest `TOLD_TOGETHER`; then it is one more of
its kind, of which there are `KINDS_MAX`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from tinkertape.context import Event
from tinkertape.diagnosis.records import Failure
from tinkertape.diagnosis.words import first_line
from tinkertape.faults import INTERRUPTIONS

POLL = "APIFuture.result_async"
SUBMIT = "InternalClientHolder.execute_with_retries.exception"
SAMPLE = "RetryHandler.execute.exception"
USER_ERROR = "user_error"
UNHANDLED = "unhandled_exception"
SDK_KEY = "sdk:"  # begins the key of a finding that is made of them
NAMES = (POLL, SUBMIT, SAMPLE, USER_ERROR, UNHANDLED)
TOLD_TOGETHER = 16  # the same fault is looked for among so many
KINDS_MAX = 1000  # messages may have ids in them
IDS_MAX = 1000  # requests that are named of one kind
AGAIN_NS = 2_000_000_000
_LAYERS = {SUBMIT: 0, SAMPLE: 1, USER_ERROR: 2, UNHANDLED: 2}  # how far out; a poll is 0
_CLOSING = ("_finish_session", "_close_submit")
_NETWORK = ("APIConnectionError", "APITimeoutError", "ConnectError", "ReadError")
Kind = tuple[str, str, str]  # error type, operation, message
_OPERATIONS = {"run_fwd_bwd": "forward_backward", "optim_step": "optim_step", "sample_async": "sample"}


@dataclass(slots=True)
class SdkFault:
    """One failure, as the SDK told it; `failure.at_ns` is wall time."""

    process: str
    operation: str
    request_id: str
    failure: Failure
    layer: int
    retried: bool
    closing: bool  # of the SDK's own good-bye, after the program's work

    @property
    def time_ns(self) -> int:
        return self.failure.at_ns


@dataclass(slots=True)
class SameFaults:
    """Faults of one kind: the message of the first, the newest traceback, and of the last what else is known."""

    operation: str
    failure: Failure
    first_ns: int
    last_ns: int
    count: int = 0
    request_ids: dict[str, None] = field(default_factory=dict)  # of the first `IDS_MAX`, in order

    def add(self, fault: SdkFault) -> None:
        """One more of them."""
        before, new = self.failure, fault.failure
        self.failure = replace(
            new, error_type=before.error_type, message=before.message, traceback=new.traceback or before.traceback
        )
        self.first_ns, self.last_ns = min(self.first_ns, fault.time_ns), max(self.last_ns, fault.time_ns)
        self.count += 1
        if fault.request_id and len(self.request_ids) < IDS_MAX:
            self.request_ids[fault.request_id] = None


@dataclass
class SdkEvents:
    """The fold over the SDK's own events: those with an id that we did not give."""

    events: int = 0
    first_ns: int = 0
    last_ns: int = 0
    told: SdkFault | None = None  # what the last event told anew
    _recent: deque[SdkFault] = field(default_factory=deque)
    _kinds: dict[Kind, SameFaults] = field(default_factory=dict)
    _ended_by: dict[str, SdkFault] = field(default_factory=dict)
    _last_kind: str = ""

    def feed(self, event: Event) -> None:
        """Take one event; others than the SDK's own are passed over."""
        self.told = None
        if not event.event_id:
            return
        self.first_ns = event.time_ns if not self.events else min(self.first_ns, event.time_ns)
        self.last_ns = max(self.last_ns, event.time_ns)
        self.events += 1
        self._last_kind = event.kind
        fault = _fault_of(event)
        if fault is None:
            if event.kind == "SESSION_START":
                self._ended_by.pop(event.process, None)
            return
        known = self._same(fault)
        if known is not None:
            _tell_again(known, fault)
        else:
            self._recent.append(fault)
            self.told = fault
            if len(self._recent) > TOLD_TOGETHER:
                _count(self._kinds, self._recent.popleft())
        if event.kind == "UNHANDLED_EXCEPTION":
            self._ended_by[event.process] = known or fault
        elif not (known or fault).closing:
            self._ended_by.pop(event.process, None)  # the program went on

    def forget(self) -> None:
        """Keep only those that may be told again."""
        self._kinds.clear()

    @property
    def faults(self) -> list[SameFaults]:
        """What failed, by kind, in the order in which they were told first."""
        kinds = {kind: replace(same, request_ids=dict(same.request_ids)) for kind, same in self._kinds.items()}
        for fault in self._recent:
            _count(kinds, fault)
        return list(kinds.values())

    @property
    def ended_by(self) -> SdkFault | None:
        """The exception that nobody caught, if nothing but a good-bye came after it."""
        return max(self._ended_by.values(), key=lambda fault: fault.time_ns, default=None)

    @property
    def is_over(self) -> bool:
        """Was the last that was heard a good-bye?"""
        return self._last_kind == "SESSION_END"

    def _same(self, fault: SdkFault) -> SdkFault | None:
        for known in reversed(self._recent):
            if known.process != fault.process or known.layer >= fault.layer:
                continue
            if abs(fault.time_ns - known.time_ns) <= AGAIN_NS and _alike(known.failure, fault.failure):
                return known
        return None


def kind_of(failure: Failure, operation: str) -> Kind:
    """What makes it the same error: its message, but for numbers and the request's id that the SDK adds."""
    message = first_line(failure.message, len(failure.message) + 1)
    return failure.error_type, operation, re.sub(r"\d+", "#", message)


def _count(kinds: dict[Kind, SameFaults], fault: SdkFault) -> None:
    kind = kind_of(fault.failure, fault.operation)
    if kind not in kinds and len(kinds) >= KINDS_MAX:
        kind = (*kind[:2], "")
    if kind not in kinds:
        kinds[kind] = SameFaults(fault.operation, fault.failure, fault.time_ns, fault.time_ns)
    kinds[kind].add(fault)


def _alike(one: Failure, other: Failure) -> bool:
    if one.status_code is not None and other.status_code is not None and one.status_code != other.status_code:
        return False
    left, right = first_line(one.message), first_line(other.message)
    return left == right or (bool(left and right) and (left in right or right in left))


def _tell_again(known: SdkFault, again: SdkFault) -> None:
    """What the outer layer knows better stays: the exception's type and traceback; the owner, where it had none."""
    known.layer = again.layer
    old, new = known.failure, again.failure
    old.error_type = new.error_type if new.error_type != "Exception" else old.error_type
    old.traceback = new.traceback or old.traceback
    old.status_code = old.status_code if old.status_code is not None else new.status_code
    if old.owner == "unknown" and not known.closing:
        old.owner = new.owner
    known.retried = known.retried and again.retried


def _fault_of(event: Event) -> SdkFault | None:
    metadata, is_poll = event.metadata, event.name.startswith(f"{POLL}.")
    if event.name not in _LAYERS and event.kind != "UNHANDLED_EXCEPTION" and not is_poll:
        return None
    status = _status(metadata.get("status_code"))
    if is_poll and status == 408:
        return None
    error_type = str(metadata.get("error_type") or metadata.get("exception_type") or _named(event.name))
    keys = ("error_message", "message", "exception", "error", "detail")
    message = next((str(metadata[key]) for key in keys if metadata.get(key)), "")
    if error_type in INTERRUPTIONS:
        return None
    category = str(metadata.get("error_category") or "").lower().rpartition(".")[2] or None
    func = str(metadata.get("func") or "")
    closing = any(name in func for name in _CLOSING)
    failure = Failure(
        event.time_ns,
        error_type,
        message,
        "unknown" if closing else _owner(status, category, error_type, metadata),
        category,
        status,
        str(metadata.get("traceback") or metadata.get("exception_stack") or ""),
        is_user_error=metadata.get("is_user_error"),
    )
    return SdkFault(
        event.process,
        _operation(str(metadata.get("request_type") or ""), func),
        str(metadata.get("request_id") or ""),
        failure,
        _LAYERS.get(event.name, 2 if event.kind == "UNHANDLED_EXCEPTION" else 0),
        bool(metadata.get("should_retry") or metadata.get("is_retryable")),
        closing,
    )


def _status(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _named(name: str) -> str:
    kind = name.rpartition(".")[2]
    return {"application_error": "RequestFailedError", "connection_error": "APIConnectionError"}.get(kind, "Exception")


def _owner(status: int | None, category: str | None, error_type: str, metadata: dict[str, Any]) -> str:
    """As facts/sdk.md §7 recommends: 408 and 429 are nobody's, an exception without a status is not yours by itself."""
    if category == "user":
        return "user"
    if category == "server" or (status is not None and status >= 500):
        return "service"
    if category == "unknown":
        return "unknown"
    if status is not None and 400 <= status < 500:
        return "unknown" if status in (408, 429) else "user"
    if error_type in _NETWORK:
        return "network"
    if error_type == "InternalServerError":
        return "service"
    return "user" if metadata.get("is_user_error") is True else "unknown"


def _operation(request_type: str, func: str) -> str:
    if request_type:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", request_type).lower()
    name = func.split(".")[1] if func.count(".") else func
    name = name.strip("_").removesuffix("_impl")
    return _OPERATIONS.get(name, name)
