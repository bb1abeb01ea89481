"""What the collector does not take: foreign pages, bodies that are too large, too slow, too many or packed in an
unknown way.

The server binds to loopback, but a browser on this machine also runs other people's pages: `Host` must be a name of
this machine and this port (a page that rebinds its own name to 127.0.0.1 keeps its name there), and `Origin`, when
there is one, must be ours, each of them; a browser that says by `Sec-Fetch-Site` that another page asks is believed.
uvicorn itself limits neither the size nor the time of a body (docs/facts/performance.md §5).
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Iterator
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX = 4_000_000  # bytes, and again when unpacked
PASSING_MAX = 64_000_000  # bytes of one that is too large which are let go by; then the connection is closed
BODY_TIME_S = 10.0  # from the first wait to the last byte
FLIGHT_MAX = 64_000_000  # bytes of all bodies that are on their way at one time
MEMBERS_MAX = 64  # gzip members of one body
RETRY_AFTER_S = 1
FOREIGN_SITES = ("cross-site", "same-site")  # another port of this machine is of the same site, and not ours
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line

    def response(self) -> PlainTextResponse:
        """The answer; the connection is closed after one that left bytes of the body unread."""
        headers: dict[str, str] = {}
        if self.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
            headers["connection"] = "close"
        if self.status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = str(RETRY_AFTER_S)
        return PlainTextResponse(f"{self.line}\n", self.status.value, headers)


class LocalOnly:
    """ASGI middleware: answers 403 to whoever asks for another host than this machine, or from a page of another
    origin; and says with every answer that it is what its type says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_plainly(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("x-content-type-options", "nosniff")
            await send(message)

        line = foreign(Headers(scope=scope), scope["server"])
        app = Refused(HTTPStatus.FORBIDDEN, line).response() if line else self._app
        await app(scope, receive, send_plainly)


def foreign(headers: Headers, server: tuple[str, int | None] | None) -> str | None:
    """Why a request is refused by its `Host`, `Origin` or `Sec-Fetch-Site`, or None."""
    address, port = server or ("", None)
    ours = _own_hosts(address, port)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or hosts[0].lower() not in ours:
        asked = f"[{address}]" if ":" in address else address or LOCAL_NAMES[1]
        return f"refused: the Host header names another machine; use http://{asked}{f':{port}' if port else ''}"
    if any(origin.lower().removeprefix("http://") not in ours for origin in headers.getlist("origin")):
        return "refused: a page of another origin may not ask the collector"
    if any(site.strip().lower() in FOREIGN_SITES for site in headers.getlist("sec-fetch-site")):
        return f"refused: another page led here; type http://{hosts[0]} into the address bar yourself"
    return None


def _own_hosts(address: str, port: int | None) -> set[str]:
    """`address` is the one that the connection came to: on loopback 127.0.0.1, or another of its kind."""
    hosts = (*LOCAL_NAMES, address) if address.startswith("127.") else LOCAL_NAMES
    names = {f"{host}:{port}" for host in hosts}
    return names | set(hosts) if port in (80, None) else names


class Flight:
    """The bytes of all bodies that are on their way: received, and not yet on the disk. One event loop's."""

    def __init__(self) -> None:
        self.bytes = 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """One body's share of them, given back at the end."""
        share = self.new_share()
        try:
            yield share
        finally:
            share.give_back()

    def new_share(self) -> Share:
        """The same, for whoever gives it back himself."""
        return Share(self)


class Share:
    """What one body holds."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        self._bytes = 0

    def grow(self, count: int) -> bool:
        """Take so many bytes more; False: there is no room."""
        if self._flight.bytes + count > FLIGHT_MAX:
            return False
        self._flight.bytes += count
        self._bytes += count
        return True

    def give_back(self) -> None:
        self._flight.bytes -= self._bytes
        self._bytes = 0


async def read_body(receive: Receive, share: Share) -> bytes:
    """The whole body as it was sent. Raises `Refused` when it is too large or too slow, or too many come at once."""
    try:
        async with asyncio.timeout(BODY_TIME_S):
            return await _bytes_of(receive, share)
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_TIME_S:.0f} s") from None


def check_length(headers: Headers) -> None:
    """Raise `Refused` for a body that is announced so large, or of which the sender asks first, that none of it need be
    received.
    """
    announced = int(headers.get("content-length", "0"))  # the parser took it for a number
    asks_first = headers.get("expect", "").strip().lower() == "100-continue"
    if announced > (BODY_MAX if asks_first else PASSING_MAX):
        raise _too_large()


def is_packed(headers: Headers) -> bool:
    """Is the body gzip? Raises `Refused` when it is packed in a way that is not known."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return False
    if encoding in ("gzip", "x-gzip"):
        return True
    raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the Content-Encoding is not known here; send gzip, or none")


async def _bytes_of(receive: Receive, share: Share) -> bytes:
    chunks: list[bytes] = []
    size = 0
    refusal: Refused | None = None
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(HTTPStatus.BAD_REQUEST, "the connection ended before the body did")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if refusal is None:
            if size > BODY_MAX:
                refusal = _too_large()
            elif not share.grow(len(chunk)):
                refusal = Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too much comes at once; come again in a second")
            else:
                chunks.append(chunk)
        if refusal is not None and chunks:
            chunks.clear()  # the rest is let go by, so that the sender reads the answer and not a broken connection
            share.give_back()
        is_last = not message.get("more_body", False)
        if refusal is not None and (is_last or size > PASSING_MAX):
            raise refusal
        if is_last:
            return b"".join(chunks) if len(chunks) > 1 else chunk


def gunzip(body: bytes) -> bytes:
    """Unpack a gzip body, never making more than the limit of it. Raises `Refused`."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == MEMBERS_MAX:  # what follows a member is copied each time
            raise Refused(HTTPStatus.BAD_REQUEST, f"the gzip body has more than {MEMBERS_MAX} members")
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
