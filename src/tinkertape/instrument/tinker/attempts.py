"""One exchange on the network: `_client.send` of every HTTP client that the SDK makes (seam 1 of facts/sdk.md §4).

The SDK sends each attempt through `httpx.AsyncClient.send`, whatever transport lies below; clients are made by the
dozen, so the hook is put on where they are made. The instant of the headers comes from an httpx event hook of the same
client. What the answer says about polls, submissions and sessions is handed on from here.

A request's headers hold the API key once it is sent: none is ever copied.
Threads  the SDK's loop.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from tinkertape.events import HTTP_REQUEST
from tinkertape.exception_record import failure_of
from tinkertape.guard import guard, message_of
from tinkertape.instrument.patches import Patches, passing_on
from tinkertape.instrument.tinker import flight, loop, polls, sessions, starvation, submissions
from tinkertape.instrument.tinker.flight import Attempt, SubmitAttempt, begin_at, current_operation, request_of
from tinkertape.instrument.tinker.headers import header
from tinkertape.instrument.tinker.routes import Route, route_of
from tinkertape.instrument.tinker.sessions import Heartbeat
from tinkertape.wire import UNREADABLE

Send = Callable[..., Coroutine[Any, Any, Any]]

TARGETS_MAX = 1_024  # of one client
_ANSWER_MAX = 65_536  # bytes; what names a request is far smaller, what is larger is a result


class Client(msgspec.Struct, eq=False):
    """One of the SDK's HTTP clients: where it sends to."""

    origin: tuple[str, int | None]
    transport: str
    targets: dict[Any, tuple[str, Route | None]] = {}  # paths that it has sent to; None: none of the service's
    ours: Callable[[], Any] | None = None  # what stands in the place of its `send`, held weakly
    is_watched: bool = True

    def target_of(self, url: Any) -> tuple[str, Route | None]:
        """The path of a URL, and the endpoint. Remembered: httpx takes its URLs apart anew each time it is asked."""
        key = getattr(url, "_uri_reference", url)
        found = self.targets.get(key)
        if found is None:
            path = url.path
            if len(self.targets) >= TARGETS_MAX:
                self.targets.clear()
            found = self.targets[key] = path, route_of(path) if (url.host, url.port) == self.origin else None
        return found


_TOLD_HERE = "tinkertape"  # among the extensions of a request, which are copied where it is redirected: its attempt
last: Attempt | None = None  # the newest that ended; on the SDK's loop nothing runs between an end and its back-off


def is_watched(request: Any) -> bool:
    """Is this request of httpx told here already? Sent once more later, by somebody else, it is not."""
    attempt = request.extensions.get(_TOLD_HERE)
    return attempt is not None and not attempt.ended_ns


def put_on(api_client_class: Any, patches: Patches) -> None:
    """Watch every client that `AsyncAPIClient` makes from now on, and those that are there."""

    def wrap(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            _watch_client(self)

        return __init__

    patches.replace(api_client_class, "__init__", wrap)
    patches.on_undo(_unwatch_clients)


@guard("instrument.tinker.clients")
def watch_existing_clients(api_client_class: type) -> None:
    """Find the clients that were made before us. Once, at `install`: a walk over all objects, some 10 ms."""
    for found in gc.get_objects():
        if isinstance(found, api_client_class):
            _watch_client(found)


_watched: weakref.WeakKeyDictionary[Any, Client] = weakref.WeakKeyDictionary()
# by httpx's client; one is shared by copies of an API client


@guard("instrument.tinker.clients")
def _watch_client(api_client: Any) -> None:
    client = api_client._client
    if client in _watched or not flight.is_watching:
        return
    send = client.send  # `vars` would make a dict of its attributes, and each look at them slower
    set_by_others = None if getattr(send, "__func__", None) is type(client).send else send
    base_url = api_client.base_url
    target = Client((base_url.host, base_url.port), type(client._transport).__name__)
    ours = _watched_send(client, set_by_others, target)
    target.ours = weakref.ref(ours)
    client.send = ours
    client.event_hooks["response"].append(_note_headers)
    _watched[client] = target


def _unwatch_clients() -> None:
    for client, target in list(_watched.items()):
        _unwatch(client, target)
    _watched.clear()


@guard("instrument.tinker.unwatch")
def _unwatch(client: Any, target: Client) -> None:
    """Give it its own `send` back. Where the program wrapped ours, it stays below, and only passes on."""
    target.is_watched = False
    hooks = client.event_hooks["response"]
    if _note_headers in hooks:
        hooks.remove(_note_headers)
    ours = target.ours() if target.ours is not None else None
    if ours is None or vars(client).get("send") is not ours:
        return
    if ours.__wrapped__ is type(client).send:
        del client.send
    else:
        client.send = ours.__wrapped__


def _watched_send(client: Any, set_by_others: Send | None, target: Client) -> Send:
    """The client's own `send`, stamped. Holds it weakly: a client still goes when its last user lets go."""
    method: Send = set_by_others or type(client).send
    of_client = weakref.ref(client)

    @functools.wraps(method)
    async def send(request: Any, **kwargs: Any) -> Any:
        attempt = _began(request, target)
        to = (request,) if set_by_others else (of_client(), request)
        if attempt is None:
            try:
                return await method(*to, **kwargs)
            except BaseException as error:
                passing_on(error)
                raise
        try:
            response = await method(*to, **kwargs)
        except BaseException as error:
            passing_on(error)
            _raised(attempt, request, error)
            raise
        _answered(attempt, request, response)
        return response

    return send


async def _note_headers(response: Any) -> None:
    """httpx calls this when the headers are there, before the body is read; the last one of an attempt counts."""
    attempt = response.request.extensions.get(_TOLD_HERE)
    if attempt is not None:
        attempt.headers_ns = time.perf_counter_ns()


@guard("instrument.tinker.send")
def _began(request: Any, client: Client) -> Attempt | None:
    if not client.is_watched:
        return None
    url_path, route = client.target_of(request.url)
    if route is None:
        return None
    body: bytes = getattr(request, "_content", b"")  # `.content` raises where the body is a stream
    retries = header(request, b"x-stainless-retry-count")
    number = int(retries) if retries is not None and retries.isdigit() else 0
    attempt = Attempt(route, url_path, request.method, number, client.transport, len(body))
    kind = route.kind
    if kind == "poll":
        polls.asked(attempt, request, body)
    elif kind == "heartbeat":
        attempt.heartbeat = Heartbeat(body)
    elif kind != "background":
        attempt.operation = current_operation.get()
    if asyncio._get_running_loop() is not loop.newest_sdk_loop():
        loop.watch_running("sdk")
    attempt.waited_ns = starvation.waited_ns()
    attempt.began_ns = time.perf_counter_ns()
    if kind == "call":
        submissions.sent(attempt)
    request.extensions[_TOLD_HERE] = attempt
    HTTP_REQUEST.start.tell(_asked, attempt)
    if attempt.poll is not None:
        polls.began(attempt, attempt.poll)
    elif attempt.heartbeat is not None:
        sessions.heartbeat_began(attempt.heartbeat, begin_at(attempt.began_ns))
    return attempt


@guard("instrument.tinker.send")
def _raised(attempt: Attempt, request: Any, error: BaseException) -> None:
    global last
    now = attempt.ended_ns = time.perf_counter_ns()
    request.extensions.pop(_TOLD_HERE, None)
    attempt.starved_ns = starvation.since(attempt.waited_ns, now - attempt.began_ns)
    last = attempt
    attempt.error_type = type(error).__name__
    if HTTP_REQUEST.exception.handlers:
        HTTP_REQUEST.exception.execute(
            _measured(attempt), {**attempt.metadata(), **failure_of(error), "error": message_of(error)}
        )
    if attempt.submit is not None:
        submissions.answered(attempt, attempt.submit, error)
    elif attempt.poll is not None:
        polls.raised(attempt, attempt.poll, error)
    elif attempt.heartbeat is not None:
        sessions.heartbeat_raised(attempt.heartbeat, attempt.began_ns, now, error)
    elif attempt.route.kind == "session_create":
        sessions.created(attempt.began_ns, now, None)
    elif attempt.route.kind == "session_finish":
        sessions.finished(attempt.began_ns, now, attempt.route.session_id, ok=False)


@guard("instrument.tinker.send")
def _answered(attempt: Attempt, request: Any, response: Any) -> None:
    global last
    now = attempt.ended_ns = time.perf_counter_ns()
    request.extensions.pop(_TOLD_HERE, None)
    attempt.starved_ns = starvation.since(attempt.waited_ns, now - attempt.began_ns)
    last = attempt
    status = attempt.status_code = response.status_code
    content: bytes | None = getattr(response, "_content", None)  # unread while it is streamed
    submit, poll = attempt.submit, attempt.poll
    if submit is not None and status < 300:
        attempt.request_id = _request_id(content)
        if attempt.request_id is not None:
            _accepted(attempt, submit, attempt.request_id)
    attempt.received_bytes = response.num_bytes_downloaded or len(content or b"")
    HTTP_REQUEST.stop.tell(_answer, attempt)
    if submit is not None:
        submissions.answered(attempt, submit, None)
    elif poll is not None:
        polls.answered(attempt, poll, status, content)
    elif attempt.heartbeat is not None:
        sessions.heartbeat_answered(attempt.heartbeat, attempt.began_ns, now, status)
    elif attempt.route.kind == "session_create":
        sessions.created(attempt.began_ns, now, content if status < 300 else None)
    elif attempt.route.kind == "session_finish":
        sessions.finished(attempt.began_ns, now, attempt.route.session_id, ok=status < 300)


def _accepted(attempt: Attempt, submit: SubmitAttempt, request_id: str) -> None:
    """The service took the request: from here on it goes by its id."""
    request = request_of(request_id, attempt.operation)
    request.submission = submit.submission
    request.submitted_ns = submit.began_ns
    request.accepted_ns = attempt.ended_ns
    request.late_ns = attempt.starved_ns or 0
    request.data_size = attempt.request_bytes


def _asked(attempt: Attempt) -> tuple[dict[str, int], dict[str, Any]]:
    return begin_at(attempt.began_ns), attempt.metadata()


def _answer(attempt: Attempt) -> tuple[dict[str, int], dict[str, Any]]:
    status = attempt.status_code or 0
    # a poll's 408 says "not yet": an answer, and no failure (facts/sdk.md §5)
    ok = status < 400 or (status == 408 and attempt.poll is not None)
    told = attempt.metadata()
    told["request_id"] = attempt.request_id
    told["status"] = "success" if ok else "error"
    told["status_code"] = status
    return _measured(attempt), told


def _measured(attempt: Attempt) -> dict[str, int]:
    measured = {
        "duration": attempt.ended_ns - attempt.began_ns,
        "monotonic_time": attempt.ended_ns,
        "request_bytes": attempt.request_bytes,
        "attempt": attempt.number,
    }
    if attempt.headers_ns is not None:
        measured["headers_duration"] = attempt.headers_ns - attempt.began_ns
    if attempt.received_bytes is not None:
        measured["response_bytes"] = attempt.received_bytes
    if attempt.starved_ns is not None:
        measured["starved"] = attempt.starved_ns
    return measured


class _Accepted(msgspec.Struct):
    request_id: str | None = None


_decode_accepted = msgspec.json.Decoder(_Accepted).decode


def _request_id(content: bytes | None) -> str | None:
    if not content or len(content) > _ANSWER_MAX or content[:1] != b"{":
        return None
    try:
        return _decode_accepted(content).request_id
    except UNREADABLE:
        return None
