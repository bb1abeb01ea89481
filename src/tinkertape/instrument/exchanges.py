"""One exchange of an HTTP client, told as `http.request.*`: what `httpx.py` and `requests.py` have in common.

An exchange begins when the request is handed to the network and ends when the body of its answer is read or let go;
each hop of a redirect and each attempt of a retry is one of its own. Told are method, host and route: never a query, a
fragment, user or password, a header or a body, also where an error quotes them. In a route, what may be an id is
replaced by `{id}`.

Left out: what the source `tinker` tells as `tinker.http.request.*`, and what a thread of ours sends ("tinkertape-…").

Threads  the one that sends, or the event loop's.
"""

from __future__ import annotations

import functools
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tinkertape.events import HTTP
from tinkertape.exception_record import failure_of
from tinkertape.guard import guard, message_of
from tinkertape.instrument.patches import passing_on

_OURS = "tinkertape-"
_ID = "{id}"
_NETWORK = frozenset({"httpx", "httpcore", "requests", "urllib3", "http"})
_CANCELLATIONS = frozenset({"CancelledError", "KeyboardInterrupt"})
_SEGMENT_MAX = 40  # characters; longer ones are no words
_VERSION = re.compile(r"v\d+((alpha|beta)\d*)?")
_WORD = re.compile(r"[A-Za-z][A-Za-z._-]*")


def route_of(path: str) -> str:
    """The path with `{id}` for every segment that is neither a word nor a version (pure)."""
    return "/".join(segment if not segment or _is_name(segment) else _ID for segment in path.split("/"))


def _is_name(segment: str) -> bool:
    known = _WORD.fullmatch(segment) or _VERSION.fullmatch(segment)
    return known is not None and len(segment) <= _SEGMENT_MAX


def _ends_exchanges(error: BaseException) -> bool:
    """Is it the network's, or a cancellation? An exception of the program's own only lets go of the answer."""
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or package in _NETWORK or type(error).__name__ in _CANCELLATIONS


class Exchange:
    """An exchange that is under way, and is told once when it is over."""

    __slots__ = ("_before", "_began_ns", "_headers_ns", "_is_over", "_target", "_told", "status_code")

    def __init__(self, client: str, method: str, host: str, path: str, target: str, request_bytes: int | None) -> None:
        """`target` is the path with its query, as it is sent: an error may quote it."""
        self._target = target
        self._told: tuple[dict[str, Any], dict[str, Any]] = (
            {} if request_bytes is None else {"request_bytes": request_bytes},
            {"client": client, "method": method, "host": host, "path": route_of(path)},
        )
        self._before = sys.exc_info()[1]  # being handled already: none of ours
        self._headers_ns: int | None = None
        self._is_over = False
        self.status_code: int | None = None
        self._began_ns = time.perf_counter_ns()
        if HTTP.start.handlers:
            HTTP.start.execute({"monotonic_time": self._began_ns, "system_time": time.time_ns()}, self._told[1])

    @guard("instrument.http.end")
    def answered(self, status_code: int) -> None:
        """The headers are there."""
        self.status_code, self._headers_ns = status_code, time.perf_counter_ns()

    @guard("instrument.http.end")
    def failed(self, error: BaseException) -> None:
        """It ended without an answer, or in the midst of one."""
        if not self._is_over:
            self._is_over = True
            if HTTP.exception.handlers:
                told = {**failure_of(error), "error": message_of(error)}
                HTTP.exception.execute(self._measured(None), {**self._told[1], **self._without_target(told)})

    @guard("instrument.http.end")
    def ended(self, response_bytes: int | None) -> None:
        """The body is read, or let go; the failure that is being raised just now, if any, is why."""
        error = sys.exc_info()[1]
        if error is not None and error is not self._before and _ends_exchanges(error):
            self.failed(error)
        if not self._is_over:
            self._is_over = True
            if HTTP.stop.handlers:
                ok = self.status_code is not None and self.status_code < 400
                known = {"status": "success" if ok else "error", "status_code": self.status_code}
                HTTP.stop.execute(self._measured(response_bytes), {**self._told[1], **known})

    def _without_target(self, told: dict[str, Any]) -> dict[str, Any]:
        """With the route for the target, in every text."""
        route = self._told[1]["path"]
        if self._target in ("", "/", route):
            return told
        return {key: each.replace(self._target, route) if isinstance(each, str) else each for key, each in told.items()}

    def _measured(self, response_bytes: int | None) -> dict[str, int]:
        now_ns = time.perf_counter_ns()
        measured = {"duration": now_ns - self._began_ns, "monotonic_time": now_ns, **self._told[0]}
        if self._headers_ns is not None:
            measured["headers_duration"] = self._headers_ns - self._began_ns
        if response_bytes is not None:
            measured["response_bytes"] = response_bytes
        return measured


def is_told() -> bool:
    """Is an exchange that begins in this thread to be told?"""
    if not (HTTP.start.handlers or HTTP.stop.handlers or HTTP.exception.handlers):
        return False
    return not threading.current_thread().name.startswith(_OURS)


def watching(
    begun: Callable[[Any], Exchange | None], follow: Callable[[Exchange, Any], object]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What makes a client's blocking `send(self, request, …)` one that is told: `begun` has the request, `follow` the
    answer."""

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            exchange = begun(request)
            try:
                response = original(self, request, *args, **kwargs)
            except BaseException as error:
                passing_on(error)
                if exchange is not None:
                    exchange.failed(error)
                raise
            if exchange is not None:
                follow(exchange, response)
            return response

        return send

    return watched
