"""One collector's address, spoken to over a connection of its own, by the standard library's `http.client`.

Never through the SDK or a patched HTTP library, so nothing of it is recorded as a request. No redirect is followed: a
key that was meant for one origin stays there. No key is sent over plain HTTP except to loopback. A body is packed
(gzip) once the collector said, by `Accept-Encoding` on an answer, that it takes that. No clock is read: a date in
`Retry-After` is held against the `Date` of the same answer.

Threads  one: a `Collector` belongs to the thread that uses it, not to the one that makes it.
Fork     whenever it comes: an exchange imports nothing, of which a child might find the half.
"""

from __future__ import annotations

import codecs
import contextlib
import email.utils
import http.client
import io
import ipaddress
import socket
import time
import urllib.parse
import zlib
from http import HTTPStatus
from typing import Any

import msgspec

from tinkertape.errors import DeliveryError
from tinkertape.wire import OURS, TELEMETRY_PATH

CONNECT_TIMEOUT_S = 5.0
RETRY_AFTER_MAX_S = 600.0  # what a collector may ask for; a slip of its pen stops nobody for ever
PACK_MIN = 1_000  # bytes; a smaller body fits into one packet
PACK_LEVEL = 1  # of whole lines it leaves 11 % at 300 MB/s; 6 leaves 9 % at 116 (tape/codecs.py)
SAID_MAX = 200  # characters of an answer that are kept as a reason
_GZIP = 31  # zlib's `wbits` for a gzip stream


class Answer(msgspec.Struct, frozen=True):
    """What a collector said to one body. `retry_after_s` is its own wish, None: it has none; `said` its first line;
    `ours` is it known to be one of ours by it.
    """

    status: int
    retry_after_s: float | None = None
    should_retry: bool | None = None
    said: str = ""
    ours: bool = False

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refuses_us(self) -> bool:
        """It wants another key, or none of us: no event is at fault, and trying again is no help."""
        return self.status in (401, 402, 403, 407)

    @property
    def refuses_content(self) -> bool:
        """Something in this very body is not taken: it is of no use to send it again as it is."""
        if self.should_retry is not None:
            return not self.should_retry
        return self.status in (400, 413, 415, 422)

    @property
    def reason(self) -> str:
        return f"HTTP {self.status}{f': {self.said}' if self.said else ''}"


class Collector:
    """Posts bodies to `url`, keeping one connection alive.

    `timeout_s` bounds each body on its way and each answer as a whole: also one that comes a byte at a time. Raises
    `DeliveryError` when the address cannot be used or nobody answers.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 10.0) -> None:
        parts, port = _parts(url)
        assert parts.hostname is not None
        codecs.lookup("idna")  # a look-up of the host, or TLS, would import it at the first exchange
        self.url = url
        self.address = address_of(url)
        self._host, self._port, self._secure = parts.hostname, port, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._key = key if key and (self._secure or is_loopback(parts.hostname)) else None
        self.withheld_key = bool(key) and self._key is None
        self._takes_gzip = False
        self._connection: http.client.HTTPConnection | None = None

    def is_ours(self) -> bool:
        """Is it a collector of ours, which takes whole lines? Raises `DeliveryError` when nobody answers, or nobody
        can say now.
        """
        response, _ = self._exchange("GET", "/healthz", None, {})
        if response.status in (408, 429) or response.status >= 500:
            raise DeliveryError(f"{self.url} answers HTTP {response.status}")
        return response.getheader(OURS) is not None

    def post(self, body: bytes) -> Answer:
        """Hand over one body. Raises `DeliveryError` when nobody answers; any answer comes back, refusals too."""
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["X-API-Key"] = self._key
        packed = self._takes_gzip and len(body) >= PACK_MIN
        if packed:
            response, answer = self._exchange(
                "POST", TELEMETRY_PATH, pack(body), {**headers, "Content-Encoding": "gzip"}
            )
        if not packed or response.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
            self._takes_gzip = self._takes_gzip and not packed  # it says that it takes it, and does not
            response, answer = self._exchange("POST", TELEMETRY_PATH, body, headers)
        is_ours = response.getheader(OURS) is not None
        return Answer(response.status, retry_after_s(response), _wish(response), _first_line(answer), is_ours)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        reused = self._connection is not None
        try:
            return self._once(method, path, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if not reused or isinstance(error, TimeoutError):
                raise self._no_answer(error) from error
        try:  # a kept connection that the other end closed meanwhile says nothing about the collector: try a new one
            return self._once(method, path, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception) -> DeliveryError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return DeliveryError(f"no answer from {self.address}: {reason}")

    def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None or self._connection.sock is None:  # one that was for a single answer has none
            kind: Any = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
            self._connection.response_class = _Answering
            self._connection.connect()
        self._connection.sock.settimeout(self._timeout_s)
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        answer = response.read(65_536)
        if not response.isclosed():  # more than anybody needs: this connection is done
            self.close()
        if response.getheader("Accept-Encoding") is not None:  # RFC 7694: what a server takes in requests
            self._takes_gzip = _names_gzip(response.getheader("Accept-Encoding") or "")
        return response, answer


class _Answering(http.client.HTTPResponse):
    """An answer that must be there, whole, within the time that its socket has for one wait."""

    def __init__(self, sock: socket.socket, *more: Any, **named: Any) -> None:
        super().__init__(sock, *more, **named)
        self.fp = io.BufferedReader(_InTime(sock, self.fp.detach()))


class _InTime(io.RawIOBase):
    """What a socket receives, until its time is over."""

    def __init__(self, sock: socket.socket, received: io.RawIOBase) -> None:
        self._socket, self._received = sock, received
        self._until_s = time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


def _parts(url: str) -> tuple[urllib.parse.SplitResult, int]:
    """Raises `DeliveryError` for what is no address."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urllib.parse.urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DeliveryError(f"cannot deliver to {url!r}: it is no http:// or https:// address")
    return parts, port


def address_of(url: str) -> str:
    """A collector's address in one spelling, without a name or password that may stand in it: what a mark remembers.

    Raises `DeliveryError` for what is no address.
    """
    parts, port = _parts(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = port == (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{host}{'' if usual else f':{port}'}{parts.path.rstrip('/')}"


def pack(body: bytes) -> bytes:
    """The body as one gzip stream."""
    packer = zlib.compressobj(PACK_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(body) + packer.flush()


def is_loopback(host: str) -> bool:
    """Does this host name the machine itself?"""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def retry_after_s(response: http.client.HTTPResponse) -> float | None:
    """How long the collector wishes to be left alone: seconds, or a date against its own `Date`; None if it says
    nothing of use.
    """
    text = (response.getheader("Retry-After") or "").strip()
    with contextlib.suppress(ValueError):
        return max(0.0, min(float(text), RETRY_AFTER_MAX_S))  # no comparison with NaN holds: it is 0
    with contextlib.suppress(ValueError, TypeError):  # no date, or one with a zone and one without
        until = email.utils.parsedate_to_datetime(text)
        now = email.utils.parsedate_to_datetime(response.getheader("Date") or "")
        return max(0.0, min((until - now).total_seconds(), RETRY_AFTER_MAX_S))
    return None


def _wish(response: http.client.HTTPResponse) -> bool | None:
    return {"true": True, "false": False}.get((response.getheader("X-Should-Retry") or "").lower())


def _first_line(answer: bytes) -> str:
    lines = answer[: 4 * SAID_MAX].decode("utf-8", "replace").splitlines()
    return lines[0].strip()[:SAID_MAX] if lines else ""


def _names_gzip(text: str) -> bool:
    for coding in text.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() in ("gzip", "x-gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
