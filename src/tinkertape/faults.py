"""Whose mistake an exception is: yours, the client's, the network's or the service's.

Nothing here imports an SDK: an exception is known by its class names, its `status_code` and its `category`, as every
version of the SDK carries them (facts/sdk.md §7). The cause chain is walked (`raise … from …`, cycle-safe); an error
that was merely being handled (`__context__`) never counts as the cause. An interruption is nobody's mistake: Ctrl-C,
an exit, a generator that is closed, a task or future that is cancelled.
"""

from __future__ import annotations

import concurrent.futures
import functools
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from tinkertape.guard import attempt

FaultOwner = Literal["user", "client", "network", "service", "unknown"]

INTERRUPTIONS = frozenset({"KeyboardInterrupt", "SystemExit", "GeneratorExit", "CancelledError"})
_CONNECTION_CLASSES = frozenset(
    {"APIConnectionError", "ConnectError", "NetworkError", "RemoteProtocolError", "ReadError", "WriteError"}
)
_TIMEOUT_CLASSES = frozenset({"APITimeoutError", "TimeoutException"})
_TELLING = frozenset(  # names of classes by which an exception is known
    {
        "RequestFailedError",
        "JSONDecodeError",
        "APIResponseValidationError",
        "TimeoutError",
        "ConnectionError",
        "gaierror",
    }
    | _CONNECTION_CLASSES
    | _TIMEOUT_CLASSES
)
_CLIENT_PACKAGES = ("tinker", "tinkertape")
_STATUS_KINDS = {
    400: "bad_request",
    401: "auth",
    402: "billing",
    403: "auth",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    422: "bad_request",
}


class Fault(msgspec.Struct, frozen=True):
    """Whose mistake (`owner`), which kind of it, and whether trying again can help."""

    owner: FaultOwner
    kind: str
    retryable: bool


def classify(exception: BaseException) -> Fault:
    """Say whose mistake an exception is.

    A failed request goes by the service's category, an HTTP status by its class, a broken connection or a timeout to
    the network. What the program itself raised is the user's (`owner="user"`), unless the frame that raised it belongs
    to the SDK or to tinkertape (`client`). An interruption has no owner (`unknown`). Never raises, in any thread.
    """
    for link in _chain(exception):
        fault = _by_answer(link) or _by_connection(link)
        if fault is not None:
            return fault
    return _by_itself(exception)


def _by_itself(exception: BaseException) -> Fault:
    if not isinstance(exception, Exception):
        return Fault("unknown", "interrupted", False)
    if isinstance(exception, concurrent.futures.CancelledError):
        return Fault("unknown", "cancelled", False)
    return Fault("client" if _raised_by_client(exception.__traceback__) else "user", "exception", False)


def is_user_error(exception: BaseException) -> bool:
    """Is it the user's mistake, by the specification's rule?

    A `RequestFailedError` is when its category says so; an HTTP status is when it is 4xx but neither 408 nor 429;
    connection and timeout errors are not, nor is an interruption; anything else is assumed to be, unless the SDK or
    tinkertape raised it.
    Source: the specification, "User Error Detection"; the differences from the SDK's rule are in facts/sdk.md §7.
    """
    return _is_user_error(exception, classify(exception))


def _is_user_error(exception: BaseException, fault: Fault) -> bool:
    for link in _chain(exception):
        category = _category(link)
        if category is not None:
            return category == "user"
        status = _status_code(link)
        if status is not None and status >= 400:
            return status < 500 and status not in (408, 429)
        if _by_connection(link) is not None:
            return False
    return fault.owner == "user"


def error_category(exception: BaseException) -> str | None:
    """The service's word for a failed request, `user`, `server` or `unknown`; None for every other exception."""
    return next(filter(None, (_category(link) for link in _chain(exception))), None)


def fault_metadata(exception: BaseException) -> dict[str, str | bool]:
    """Whose mistake it is, as the metadata of an event."""
    if not any(map(_tells, _chain(exception))):  # most of a program's own
        owner = _by_itself(exception).owner
        return {"fault_owner": owner, "is_user_error": owner == "user"}
    category = error_category(exception)
    told = {"error_category": category} if category is not None else {}
    fault = classify(exception)
    return {"fault_owner": fault.owner, "is_user_error": _is_user_error(exception, fault), **told}


def status_code(exception: BaseException) -> int | None:
    """The HTTP status that an exception or its cause carries, or None."""
    return next((status for link in _chain(exception) if (status := _status_code(link)) is not None), None)


def _chain(exception: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = exception
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = _attribute(link, "__cause__")


def _attribute(exception: BaseException, name: str) -> Any:
    """None also where the exception's own class fails to say, as a property of httpx's does that was never set."""
    return attempt(getattr, exception, name, None)[0]


def _class_names(exception: BaseException) -> frozenset[str]:
    """Of its class and what that inherits from; remembered by the class's id, since a class may refuse to be a key."""
    kind = type(exception)
    known = _names.get(id(kind))
    if known is not None:
        return known[1]
    found = frozenset(each.__name__ for each in kind.__mro__)
    if len(_names) >= NAMES_MAX:
        _names.clear()
    _names[id(kind)] = kind, found  # which keeps the class, and so its id, as long as it stands here
    return found


def _tells(exception: BaseException) -> bool:
    """May it be known by more than its frames?"""
    return not _TELLING.isdisjoint(_class_names(exception)) or _status_code(exception) is not None


def _category(exception: BaseException) -> str | None:
    if "RequestFailedError" not in _class_names(exception):
        return None
    category = _attribute(exception, "category") or _attribute(exception, "error_category")
    word = str(getattr(category, "value", category) or "unknown").rpartition(".")[2].lower()
    return "user" if word in ("user", "user_error") else word


def _status_code(exception: BaseException) -> int | None:
    status = _attribute(exception, "status_code")
    return status if isinstance(status, int) and 100 <= status <= 599 else None


def _by_answer(exception: BaseException) -> Fault | None:
    """The service answered: by category, else by status."""
    category = _category(exception)
    if category is not None:
        owners: dict[str, FaultOwner] = {"user": "user", "server": "service"}
        return Fault(owners.get(category, "unknown"), "request_failed", False)
    status = _status_code(exception)
    if status is None or status < 400:
        return Fault("service", "bad_answer", False) if _is_unreadable_answer(exception) else None
    if status >= 500:
        return Fault("service", "server_error", True)
    if status == 429:
        return Fault("unknown", "rate_limit", True)
    if status == 408:
        return Fault("service", "timeout", True)
    if status == 410:
        return Fault("service", "promise_expired", False)
    return Fault("user", _STATUS_KINDS.get(status, "bad_request"), False)


def _is_unreadable_answer(exception: BaseException) -> bool:
    """An answer of success that is not what was agreed on: a page of a proxy's, JSON cut short."""
    names = _class_names(exception)
    is_json = "JSONDecodeError" in names and _raised_by_client(exception.__traceback__, but_for=("httpx",))
    return is_json or "APIResponseValidationError" in names


def _by_connection(exception: BaseException) -> Fault | None:
    names = _class_names(exception)
    if names & _TIMEOUT_CLASSES or isinstance(exception, TimeoutError):
        return Fault("network" if names & _TIMEOUT_CLASSES else "unknown", "timeout", True)
    if names & _CONNECTION_CLASSES or isinstance(exception, ConnectionError) or "gaierror" in names:
        return Fault("network", "connection", True)
    return None


def _raised_by_client(trace: TracebackType | None, *, but_for: tuple[str, ...] = ()) -> bool:
    """Does the innermost frame outside the standard library, and outside these packages, belong to the SDK or to us?"""
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in but_for and not _is_standard_library(frame.f_code.co_filename):
            return package in _CLIENT_PACKAGES
    return False


NAMES_MAX = 512
_names: dict[int, tuple[type, frozenset[str]]] = {}
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


@functools.lru_cache(maxsize=4096)
def _is_standard_library(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return True
    path = Path(filename)
    return path.is_relative_to(_STANDARD_LIBRARY) and "site-packages" not in path.parts
