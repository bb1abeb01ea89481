"""One collector's address, spoken to over a connection of its own, by the standard library's `http.client`.

Never through the SDK or a patched HTTP library, so nothing of it is recorded as a request. No redirect is followed: a
key that was meant for one origin stays there. No key is sent over plain HTTP except to loopback.

Threads  one: a `Collector` belongs to the thread that made it.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import urllib.parse
from typing import Any

import msgspec

from tinkertape.errors import DeliveryError
from tinkertape.wire import TELEMETRY_PATH

CONNECT_TIMEOUT_S = 5.0
OURS = "Tinkertape-Collector"  # the header by which a collector of ours is known


class Answer(msgspec.Struct, frozen=True):
    """What a collector said to one body. `retry_after_s` is its own wish, None if it has none."""

    status: int
    retry_after_s: float | None = None
    should_retry: bool | None = None

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused_key(self) -> bool:
        return self.status in (401, 403)

    @property
    def worth_retrying(self) -> bool:
        if self.should_retry is not None:
            return self.should_retry
        return self.status in (408, 409, 429) or self.status >= 500 or 300 <= self.status < 400


class Collector:
    """Posts bodies to `url`, keeping one connection alive.

    `timeout_s` bounds each answer. Raises `DeliveryError` when the address cannot be used or nobody answers.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 10.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DeliveryError(f"cannot deliver to {url!r}: it is no http:// or https:// address")
        self.url = url
        self._host, self._secure = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._key = key if key and (self._secure or is_loopback(parts.hostname)) else None
        self.withheld_key = bool(key) and self._key is None
        self._connection: http.client.HTTPConnection | None = None

    def is_ours(self) -> bool:
        """Is it a collector of ours, which takes whole lines? Raises `DeliveryError` when nobody answers."""
        response, _ = self._exchange("GET", "/healthz", None, {})
        return response.getheader(OURS) is not None

    def post(self, body: bytes) -> Answer:
        """Hand over one body. Raises `DeliveryError` when nobody answers; any answer comes back, refusals too."""
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["X-API-Key"] = self._key
        response, _ = self._exchange("POST", TELEMETRY_PATH, body, headers)
        return Answer(response.status, _seconds(response.getheader("Retry-After")), _wish(response))

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
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not reused:
                raise DeliveryError(f"no answer from {self.url}: {error or type(error).__name__}") from error
        try:  # a kept connection that the other end closed meanwhile says nothing about the collector: try a new one
            return self._once(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise DeliveryError(f"no answer from {self.url}: {error or type(error).__name__}") from error

    def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None:
            kind: Any = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
            self._connection.connect()
            self._connection.sock.settimeout(self._timeout_s)
        self._connection.request(method, self._prefix + path, body, headers)
        response = self._connection.getresponse()
        answer = response.read(65_536)
        if not response.isclosed():  # more than anybody needs: this connection is done
            self.close()
        return response, answer


def is_loopback(host: str) -> bool:
    """Does this host name the machine itself?"""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, min(float(text), 60.0)) if text else None
    except ValueError:
        return None  # a date: our own back-off serves as well


def _wish(response: http.client.HTTPResponse) -> bool | None:
    return {"true": True, "false": False}.get((response.getheader("X-Should-Retry") or "").lower())
