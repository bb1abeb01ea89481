"""The way to the daemon: one socket, for datagrams over UDP or to a Unix socket; a name is looked up again and again.

Nothing here blocks for long but the look-up of a name. What nobody takes now can be given again: there is no daemon,
or not yet; the name is unknown; the network is down (`"later"`); a Unix socket's receiver is behind (`"busy"`). On one
machine not even UDP loses it: the refusal of a datagram is there when `send` returns, and is asked for.

Threads  the one that sends; `start_over` in a forked child.
Fork     `start_over`: the child's copy of the socket is closed, its own is opened when it sends.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from tinkertape.errors import MetricError
from tinkertape.metrics.statsd.losses import Losses

Family = Literal["ipv4", "ipv6"]
Outcome = Literal["sent", "busy", "later", "too_long", "send_error"]
Address = tuple[int, object]  # family, and what `connect` takes

FAMILIES = {None: socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
PATH_MAX = 107  # bytes of a Unix socket's path on Linux
BUSY_WAIT_S = 0.1  # how long a receiver that is behind is waited for
LOOKUP_RETRY_S, LOOKUP_RETRY_MAX_S = 1.0, 60.0  # after a look-up that failed; doubled

_BUSY = {errno.EAGAIN, errno.EWOULDBLOCK}
_NOBODY = {  # at the moment; a new socket may find somebody
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ENOTCONN,
    errno.EPIPE,
    errno.EDESTADDRREQ,
    errno.ENOENT,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.ENOBUFS,
    errno.EPERM,  # a firewall's word
    errno.EACCES,
    errno.EBADF,
}


class Destination(msgspec.Struct, frozen=True):
    """Where the daemon is: a Unix socket, else host and port."""

    host: str = "127.0.0.1"
    port: int = 8125
    socket_path: str | None = None
    family: Family | None = None

    def __str__(self) -> str:
        return self.socket_path or f"{self.host}:{self.port}"

    @property
    def is_name(self) -> bool:
        """Does it have to be looked up?"""
        if self.socket_path is not None:
            return False
        try:
            ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return True
        return False


def destination_of(host: object, port: object, socket_path: object, family: object) -> Destination:
    """A destination of what a user gave. Raises `MetricError` for what is none."""
    if socket_path is not None:
        return Destination(socket_path=_path_of(socket_path))
    if isinstance(host, ipaddress.IPv4Address | ipaddress.IPv6Address):
        host = str(host)
    if not isinstance(host, str) or not host:
        raise MetricError(f"host is {host!r}; want a name or an IP address")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65_536:
        raise MetricError(f"port is {port!r}; want a number from 1 to 65535")
    if not isinstance(family, str | None) or family not in FAMILIES:
        raise MetricError(f"family is {family!r}; want 'ipv4', 'ipv6' or None for either")
    destination = Destination(host=_ascii(host), port=port, family=family)  # type: ignore[arg-type]
    if family is not None and not destination.is_name and (":" in host) != (family == "ipv6"):
        raise MetricError(f"host {host!r} is no address of the family {family!r}")
    return destination


def _ascii(host: str) -> str:
    """The name as it is looked up. Made here: a fork during the import of a codec would leave the child without it."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise MetricError(f"host is {host!r}, which is no name: {error}") from None


def _path_of(socket_path: object) -> str:
    if not isinstance(socket_path, str | os.PathLike) or not os.fspath(socket_path):
        raise MetricError(f"socket_path is {socket_path!r}; want the path of a Unix socket")
    if not hasattr(socket, "AF_UNIX"):
        raise MetricError("this system has no Unix sockets; give host and port")
    if len(os.fsencode(socket_path)) > PATH_MAX:
        raise MetricError(f"socket_path {socket_path!r} is too long: the system takes {PATH_MAX} bytes")
    return os.fsdecode(socket_path)


def look_up(destination: Destination) -> list[Address]:
    """The addresses of a host, in the order to try them. Blocks. Raises `OSError`."""
    family, host = FAMILIES[destination.family], destination.host.encode("ascii")  # of a str it would import the codec
    found = socket.getaddrinfo(host, destination.port, family, socket.SOCK_DGRAM)
    return list(dict.fromkeys((each[0], each[4]) for each in found))


class Transport:
    """A socket to one destination, opened when it is needed, and anew when it is broken.

    A name is looked up each `resolve_period_s` (None: once); the address is kept as long as it is in the answer.
    """

    def __init__(
        self,
        destination: Destination,
        losses: Losses,
        *,
        resolve_period_s: float | None = None,
        look_up: Callable[[Destination], list[Address]] = look_up,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._destination, self._losses = destination, losses
        self._period_s = resolve_period_s if destination.is_name else None
        self._look_up, self._monotonic = look_up, monotonic
        self._socket: socket.socket | None = None
        self._forget()

    def _forget(self) -> None:
        self._addresses: list[Address] = []  # the one in use first
        self._look_up_at = 0.0
        self._retry_s = LOOKUP_RETRY_S

    @property
    def keeps_pace(self) -> bool:
        """Does a receiver that is behind hold up the sender, instead of losing what it is sent?"""
        return self._destination.socket_path is not None

    @property
    def address(self) -> object:
        """Where it sends to now; None before that is known."""
        return self._addresses[0][1] if self._addresses else None

    def start_over(self) -> None:
        """In a forked child."""
        self.close()
        self._forget()

    def close(self) -> None:
        """Close the socket; the next `ready` opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self, *, may_block: bool = True) -> bool:
        """Is there a socket to send with? Opens one; looks the name up when it is time, which may block long."""
        if self._monotonic() >= self._look_up_at and (may_block or not self._destination.is_name):
            self._refresh()
        return self._socket is not None or self._open()

    def _refresh(self) -> None:
        if self._destination.socket_path is not None:
            self._addresses, self._look_up_at = [(socket.AF_UNIX, self._destination.socket_path)], float("inf")
            return
        try:
            found = self._look_up(self._destination)
        except OSError as error:
            self._losses.say_once("look-up", f"cannot look up {self._destination.host!r}: {error}; trying on")
            self._look_up_at = self._monotonic() + self._retry_s
            self._retry_s = min(2 * self._retry_s, LOOKUP_RETRY_MAX_S)
            return
        self._retry_s = LOOKUP_RETRY_S
        self._look_up_at = float("inf") if self._period_s is None else self._monotonic() + self._period_s
        used = self._addresses[:1]
        if used and used[0] in found:
            found.remove(used[0])
            found = used + found
        else:
            self.close()
        self._addresses = found

    def _open(self) -> bool:
        for _ in range(len(self._addresses)):
            family, address = self._addresses[0]
            opened = socket.socket(family, socket.SOCK_DGRAM)
            try:
                opened.setblocking(False)
                opened.connect(address)  # type: ignore[arg-type]
            except OSError as error:
                opened.close()
                self._say(error)
                self._try_next()
                continue
            self._socket = opened
            return True
        return False

    def _try_next(self) -> None:
        self._addresses.append(self._addresses.pop(0))

    def send(self, text: bytes) -> Outcome:
        """Hand one datagram to the system. `"busy"`, `"later"`: it is not on its way, and can be given again."""
        outcome: Outcome = "later"
        for _ in range(len(self._addresses) + self.keeps_pace):  # at the same path another receiver may listen now
            if self._socket is None and not self._open():
                break
            outcome = self._send_once(text)
            if outcome != "later":
                break
        return outcome

    def _send_once(self, text: bytes) -> Outcome:
        assert self._socket is not None
        try:
            self._send_or_wait(self._socket, text)
            refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:
            return self._failed(error)
        return self._failed(OSError(refused, os.strerror(refused))) if refused else "sent"

    def _send_or_wait(self, to: socket.socket, text: bytes) -> None:
        try:
            to.send(text)
        except OSError as error:
            if error.errno not in _BUSY:
                raise
            poll = select.poll()
            poll.register(to, select.POLLOUT)
            poll.poll(BUSY_WAIT_S * 1e3)
            to.send(text)

    def _failed(self, error: OSError) -> Outcome:
        if error.errno in _BUSY:
            return "busy"
        if error.errno == errno.EMSGSIZE:
            return "too_long"
        self._say(error)
        self.close()
        if error.errno not in _NOBODY:
            return "send_error"
        self._try_next()
        return "later"

    def _say(self, error: OSError) -> None:
        reason = errno.errorcode.get(error.errno or 0, "?")
        self._losses.say_once(reason, f"cannot send to {self._destination}: {error.strerror or error}; trying on")
