"""What the collector does not take: foreign pages, bodies that are too large, too slow or packed in an unknown way.

The server binds to loopback, but a browser on this machine also runs other people's pages: `Host` must be a name of
this machine and this port (a page that rebinds its own
name to 127.0.0.1 keeps its name there), and `Origin`, when there is one, must be ours. uvicorn itself limits neither
the size nor the time of a body (docs/facts/performance.md §5).
"""

from __future__ import annotations

import asyncio
import zlib
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

BODY_MAX = 4_000_000  # bytes, and again when unpacked
PASSING_MAX = 64_000_000  # bytes of one that is too large which are let go by; then the connection is closed
BODY_TIME_S = 10.0  # from the first wait to the last byte
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line

    def response(self) -> PlainTextResponse:
        """The answer; the connection is closed after one that left bytes of the body unread."""
        unread = self.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT)
        return PlainTextResponse(
            f"{self.line}\n", self.status.value, headers={"connection": "close"} if unread else None
        )


class LocalOnly:
    """ASGI middleware: answers 403 to whoever asks for another host than this machine, or from a page of another
    origin."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (line := foreign(Headers(scope=scope), scope["server"])):
            await Refused(HTTPStatus.FORBIDDEN, line).response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def foreign(headers: Headers, server: tuple[str, int | None] | None) -> str | None:
    """Why a request is refused by its `Host` or `Origin`, or None."""
    ours = _own_hosts(*(server or ("", None)))
    host = headers.get("host", "")
    if host.lower() not in ours:
        return "refused: the Host header names another machine; use http://127.0.0.1 and the port"
    origin = headers.get("origin")
    if origin is not None and origin.lower().removeprefix("http://") not in ours:
        return "refused: a page of another origin may not ask the collector"
    return None


def _own_hosts(address: str, port: int | None) -> set[str]:
    """`address` is the one that the connection came to: on loopback 127.0.0.1, or another of its kind."""
    hosts = (*LOCAL_NAMES, address) if address.startswith("127.") else LOCAL_NAMES
    names = {f"{host}:{port}" for host in hosts}
    return names | set(hosts) if port in (80, None) else names


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body, unpacked. Raises `Refused` when it is too large, too slow, or packed in a way that is not
    known."""
    try:
        async with asyncio.timeout(BODY_TIME_S):
            body = await _bytes_of(receive)
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_TIME_S:.0f} s") from None
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return body
    if encoding in ("gzip", "x-gzip"):
        return gunzip(body)
    raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Encoding is not known here; send gzip, or none")


async def _bytes_of(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(HTTPStatus.BAD_REQUEST, "the connection ended before the body did")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= BODY_MAX:
            chunks.append(chunk)
        else:
            chunks.clear()  # the rest is let go by, so that the sender reads the answer and not a broken connection
        if size > PASSING_MAX or (size > BODY_MAX and not message.get("more_body", False)):
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(chunks) if len(chunks) > 1 else chunk


def gunzip(body: bytes) -> bytes:
    """Unpack a gzip body, never making more than the limit of it. Raises `Refused`."""
    parts: list[bytes] = []
    size = 0
    while body:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(body, BODY_MAX - size + 1))
        except zlib.error as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"the body is no gzip: {error}") from error
        size += len(parts[-1])
        if size > BODY_MAX:
            raise _too_large()
        if not unpacker.eof:
            raise Refused(HTTPStatus.BAD_REQUEST, "the gzip body ends too early")
        body = unpacker.unused_data
    return b"".join(parts)


def _too_large() -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {BODY_MAX // 1_000_000} MB; send fewer events at once",
    )
