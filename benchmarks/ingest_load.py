"""The load of `bench_ingest`, as light as one thread of Python makes it, since it takes the same processors as what is
measured: a request is one `join` and one `sendall`, a socket is read when the kernel says that there is an answer, and
the process takes a processor from nobody when it wakes up.
"""

from __future__ import annotations

import heapq
import os
import selectors
import socket
import time
from collections.abc import Iterator

ACCEPTED = b'accepted"}'
SEND_BUFFER = 1_000_000  # bytes; more than a request, so that sending one waits for nobody


def give_way() -> None:
    """Wait for a processor that is free instead of interrupting whoever works on one; where the system can do that."""
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class Template:
    """A body in which `mark` stands where each sending has digits of its own."""

    def __init__(self, body: bytes, mark: bytes) -> None:
        self._pieces = body.split(mark)
        self._digits = len(mark)
        self.size = len(body)

    def filled(self, number: int) -> bytes:
        return (b"%0*d" % (self._digits, number)).join(self._pieces)


class Connection:
    """One connection, on which one request is under way at most."""

    def __init__(self, address: tuple[str, int], number: int) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.number = number
        self.turn = number
        self.since_s = 0.0  # its request was sent, or was to be
        self._answer = b""

    def send(self, request: bytes, since_s: float) -> None:
        self.since_s = since_s
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Read what is there. Raises `RuntimeError` for an answer of another kind."""
        piece = self.socket.recv(65_536)
        self._answer += piece
        if self._answer.endswith(ACCEPTED) and self._answer.startswith(b"HTTP/1.1 200"):
            self._answer = b""
            return True
        if not piece or not b"HTTP/1.1 200".startswith(self._answer[:12]):
            raise RuntimeError(self._answer.decode())
        return False


def send_for(
    url: str, path: str, body: Template, numbers: Iterator[int], round_s: float, rate: float, connections: int
) -> list[float]:
    """Send over all connections for a while, `rate` bodies a second or, 0, as many as are answered: how long each
    waited. A late answer delays no turn: that counts as the next one's wait.
    """
    host, port = url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {body.size}\r\n\r\n".encode()
    waits: list[float] = []
    under_way = 0
    began_s = time.perf_counter()
    resting: list[tuple[float, int, Connection]] = []  # a heap: when the next turn is due

    def rest(connection: Connection) -> None:
        due_s = began_s + connection.turn / rate if rate else began_s
        if max(due_s, time.perf_counter()) < began_s + round_s:
            heapq.heappush(resting, (due_s, connection.number, connection))

    with selectors.DefaultSelector() as selector:
        opened = [Connection((host, int(port)), number) for number in range(connections)]
        for connection in opened:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            rest(connection)
        while resting or under_way:
            now_s = time.perf_counter()
            while resting and resting[0][0] <= now_s:
                due_s, _, connection = heapq.heappop(resting)
                connection.send(head + body.filled(next(numbers)), due_s if rate else time.perf_counter())
                under_way += 1
            for key, _ in selector.select(max(0.0, resting[0][0] - now_s) if resting else None):
                if key.data.is_answered():
                    waits.append(time.perf_counter() - key.data.since_s)
                    under_way -= 1
                    key.data.turn += connections
                    rest(key.data)
    for connection in opened:
        connection.socket.close()
    return waits
