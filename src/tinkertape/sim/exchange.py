"""Around every HTTP exchange: who may call, how large a body may be, the network's latency, and the line of truth
about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zlib
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinkertape.sim.errors import RequestRefused
from tinkertape.sim.faults import ConnectionFault
from tinkertape.sim.lines import SECOND
from tinkertape.sim.network import PIECE_BYTES
from tinkertape.sim.service import Exchange, Service

PIECE_WITHIN_S = 30.0
GARBLED = b"<html><body><h1>502 Bad Gateway</h1></body></html>\n"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine, spoken to itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Exchanges:
    """ASGI middleware. A body is read whole before it is handled: it is bounded, and its last byte has a stamp."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange, headers = Exchange(time.perf_counter_ns(), 0), _headers(scope)
        exchange.attempt = (
            int(headers["x-stainless-retry-count"]) if headers.get("x-stainless-retry-count", "").isdigit() else 0
        )
        scope["exchange"] = exchange
        answer = Answer(self.service, scope, exchange, receive, send)
        try:
            refuse_foreign(headers)
            body = await self._read(headers, receive, exchange)
        except RequestRefused as refusal:
            exchange.body_ns = exchange.body_ns or time.perf_counter_ns()
            await refuse(refusal, answer.send)
            return
        if await self.service.network.is_lost():
            await answer.reset()
            return
        await self._pass_on(scope, body, answer, receive)

    async def _pass_on(self, scope: Scope, body: bytes, answer: Answer, receive: Receive) -> None:
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()  # the client going away
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await travel(answer.there_s)
        await self.app(scope, replay, answer.send)

    async def _read(self, headers: dict[str, str], receive: Receive, exchange: Exchange) -> bytes:
        body = bytearray()
        most = self.service.scenario.max_body_bytes
        more = True
        while more:
            message = await _receive(receive)
            piece, more = message.get("body", b""), message.get("more_body", False)
            await self.service.network.up.carry(len(piece))
            body += piece
            if len(body) > most:
                raise RequestRefused(413, f"this body is larger than {most} bytes")
        exchange.body_ns, exchange.request_bytes = time.perf_counter_ns(), len(body)
        return unpack(bytes(body), headers.get("content-encoding", ""), most)


async def _receive(receive: Receive) -> Message:
    """The next piece of a body."""
    try:
        async with asyncio.timeout(PIECE_WITHIN_S):
            return await receive()
    except TimeoutError as error:
        raise RequestRefused(408, f"of this body nothing came for {PIECE_WITHIN_S:.0f} s") from error


class Answer:
    """Sends an answer with the network's latency, and then writes down that it did."""

    def __init__(self, service: Service, scope: Scope, exchange: Exchange, receive: Receive, send: Send) -> None:
        self._service, self._scope, self._exchange, self._receive, self._send = service, scope, exchange, receive, send
        self._status, self._bytes, self._handled_ns = 0, 0, 0
        self._is_broken = False
        service.network.has_come(scope["client"])
        self.there_s, self._back_s = service.travel_s(scope["path"])

    async def send(self, message: Message) -> None:
        if self._is_broken:
            return
        if message["type"] == "http.response.start":
            self._status, self._handled_ns = message["status"], time.perf_counter_ns()
            await travel(self._back_s)
            if await self._service.network.is_lost():
                await self.reset()
                return
        fault = self._exchange.fault
        if fault is not None and (fault.how != "half" or message["type"] == "http.response.body"):
            await self._break(fault, message)
            return
        is_lost = self._service.network.has_reset(self._scope["client"])
        await self._carry(message)
        if not is_lost and message["type"] == "http.response.body" and not message.get("more_body"):
            self._write()

    async def _carry(self, message: Message) -> None:
        """Send it, where the network is narrow in pieces."""
        body, pipe = message.get("body", b""), self._service.network.down
        self._bytes += len(body)
        if not pipe.bytes_per_s or not body:
            await self._send(message)
            return
        for began in range(0, len(body), PIECE_BYTES):
            piece = body[began : began + PIECE_BYTES]
            await pipe.carry(len(piece))
            is_last = began + PIECE_BYTES >= len(body) and not message.get("more_body")
            await self._send({"type": message["type"], "body": piece, "more_body": not is_last})

    async def reset(self) -> None:
        """Instead of an answer: the client's connection is reset."""
        self._service.network.reset(self._scope["client"])
        await self._gone()

    async def _break(self, fault: ConnectionFault, message: Message) -> None:
        what = {"how": fault.how, "on": fault.on, "path": self._scope["path"]}
        self._service.truth.write("broken", **what, **self._exchange.fault_keys)
        if fault.how == "garbled":
            self._exchange.fault = None
            await respond(200, b"text/html", GARBLED, self.send)
            self._is_broken = True
        elif fault.how == "half":
            body = message.get("body", b"")
            await self._send({**message, "body": body[: len(body) // 2], "more_body": True})
            self._service.network.end(self._scope["client"])
            await self._gone()
        else:
            if fault.how == "hang":
                await self._hang(fault.length_s)
            await self.reset()

    async def _hang(self, length_s: float) -> None:
        """Until the client has had enough, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(length_s):
                while (await self._receive())["type"] != "http.disconnect":
                    pass

    async def _gone(self) -> None:
        """Until the server knows that the connection is closed: it would complain of an answer that is not whole."""
        self._is_broken = True
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _write(self) -> None:
        exchange = self._exchange
        stamps = {"headers_ns": exchange.headers_ns, "body_ns": exchange.body_ns, "handled_ns": self._handled_ns}
        sizes = {"request_bytes": exchange.request_bytes, "response_bytes": self._bytes}
        line = {"path": self._scope["path"], "method": self._scope["method"], "status": self._status, **stamps, **sizes}
        client_port = self._scope["client"][1] if self._scope.get("client") else None  # tells connections apart
        line |= {"there_ns": int(self.there_s * SECOND), "back_ns": int(self._back_s * SECOND)}
        line |= {"attempt": exchange.attempt, "request_id": exchange.request_id, "client_port": client_port}
        self._service.truth.write("exchange", **line)


async def travel(latency_s: float) -> None:
    if latency_s > 0:  # a sleep of 0 would let other work go first
        await asyncio.sleep(latency_s)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def refuse_foreign(headers: dict[str, str]) -> None:
    """A page from elsewhere must not talk to us through somebody's browser."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    if not is_loopback(host):
        raise RequestRefused(403, f"this service answers to 127.0.0.1 and localhost only, not to {host!r}")
    origin = headers.get("origin")
    if origin is not None and not is_loopback(urlsplit(origin).hostname or ""):
        raise RequestRefused(403, f"this service takes no requests from pages of {origin!r}")


def unpack(body: bytes, encoding: str, most: int) -> bytes:
    """Undo a content encoding, but never beyond `most` bytes."""
    if encoding in ("", "identity"):
        return body
    if encoding == "zstd":
        return _unpack_zstd(body, most)
    if encoding != "gzip":
        raise RequestRefused(415, f"this service does not know the content encoding {encoding!r}")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise RequestRefused(400, f"this body is not gzip: {error}") from error
    if len(plain) > most:
        raise RequestRefused(413, f"this body is larger than {most} bytes, unpacked")
    return plain


def _unpack_zstd(body: bytes, most: int) -> bytes:
    import zstandard  # noqa: PLC0415 - the SDK's; needed only when the client config asks for compressed bodies

    try:
        plain: bytes = zstandard.ZstdDecompressor().stream_reader(body).read(most + 1)
    except zstandard.ZstdError as error:
        raise RequestRefused(400, f"this body is not zstd: {error}") from error
    if len(plain) > most:
        raise RequestRefused(413, f"this body is larger than {most} bytes, unpacked")
    return plain


async def refuse(refusal: RequestRefused, send: Send) -> None:
    """Answer with a refusal, without a router."""
    body = json.dumps({"detail": refusal.message}).encode()
    await respond(refusal.status, b"application/json", body, send, (b"connection", b"close"))


async def respond(status: int, kind: bytes, body: bytes, send: Send, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
