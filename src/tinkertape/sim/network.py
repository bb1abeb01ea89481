"""The network between the simulated service and its clients: it is narrow, a connection breaks, or for a while nothing
gets through.

Threads  none: everything runs on the service's event loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import uvicorn

from tinkertape.sim.faults import Outage
from tinkertape.sim.lines import SECOND, sleep_until
from tinkertape.sim.scenario import Scenario
from tinkertape.sim.truth import Truth

BACKLOG = 512
PIECE_BYTES = 65_536  # what uvicorn reads of a body before it waits for us
LATE_NS = 5_000_000  # a timer may end late by so much, and the pipe did not rest meanwhile
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends a reset


class Pipe:
    """One direction of what all clients share: so many bytes a second, each piece behind those that came before it."""

    def __init__(self, bytes_per_s: float) -> None:
        self.bytes_per_s = bytes_per_s  # 0: any number
        self._free_ns = 0

    async def carry(self, size: int) -> None:
        """Until a piece of this size has passed."""
        if self.bytes_per_s and size:
            began_ns = max(self._free_ns, time.perf_counter_ns() - LATE_NS)
            self._free_ns = began_ns + int(size / self.bytes_per_s * SECOND)
            await sleep_until(self._free_ns)


class Network:
    """Breaks connections. Clients are named by their address, as ASGI names them."""

    def __init__(self, scenario: Scenario, truth: Truth, forget: Callable[[], None]) -> None:
        """`forget` is called when the service is restarted."""
        self.up, self.down = Pipe(scenario.upload_bytes_per_s), Pipe(scenario.download_bytes_per_s)
        self._truth = truth
        self._server: uvicorn.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._silence: asyncio.Event | None = None  # set when it is over
        self._forget = forget
        self._were_reset: set[Any] = set()

    def attach(self, server: uvicorn.Server) -> None:
        """Whose connections these are."""
        self._server = server

    def reset(self, client: Any = None) -> int:
        """Reset a client's connection, or all of them; return how many."""
        found = [transport for transport in self._transports() if client in (None, transport[0])]
        for _, transport in found:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            transport.abort()
        self._were_reset.update(address for address, _ in found)
        return len(found)

    def end(self, client: Any) -> None:
        """Close a client's connection after what was written to it."""
        for address, transport in self._transports():
            if address == client:
                transport.close()

    def has_reset(self, client: Any) -> bool:
        """Was a client's connection reset, so that nothing more gets to it?"""
        return client in self._were_reset

    def has_come(self, client: Any) -> None:
        """A client sends something: its connection is a new one, if the last with this address was reset."""
        self._were_reset.discard(client)

    def _transports(self) -> list[tuple[Any, asyncio.Transport]]:
        connections: Iterable[Any] = () if self._server is None else self._server.server_state.connections
        return [(connection.client, connection.transport) for connection in connections]

    async def is_lost(self) -> bool:
        """Is what is sent or received now lost? Waits until an outage in which nothing is answered is over."""
        silence = self._silence
        if silence is not None:
            await silence.wait()
        return silence is not None

    def begin(self, outage: Outage, keys: dict[str, Any]) -> None:
        """Let an outage come; `keys` say in the truth what it came with."""
        self.go_on(self._outage(outage, keys))

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside all else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _outage(self, outage: Outage, keys: dict[str, Any]) -> None:
        await asyncio.sleep(outage.after_s)
        note = keys | {"how": outage.how}
        began_ns = self._truth.write("outage", **note, length_s=outage.length_s)
        if outage.how == "restarted":
            self._forget()
        await (self._be_silent if outage.how == "silent" else self._refuse)(outage.length_s)
        ended_ns = time.perf_counter_ns()
        self._truth.write("restored", at_ns=ended_ns, **note, duration_ns=ended_ns - began_ns)

    async def _be_silent(self, length_s: float) -> None:
        silence = self._silence = asyncio.Event()
        await asyncio.sleep(length_s)
        self._silence = None
        silence.set()

    async def _refuse(self, length_s: float) -> None:
        server = self._server
        assert server is not None
        [listening] = server.servers
        host, port = listening.sockets[0].getsockname()[:2]
        listening.close()
        self.reset()
        with bound(host, port) as held:  # not listening: the kernel refuses, and nobody else gets the port
            await asyncio.sleep(length_s)
            again = await asyncio.get_running_loop().create_server(self._protocol, sock=held.dup(), backlog=BACKLOG)
        server.servers[:] = [again]

    def _protocol(self) -> asyncio.Protocol:
        server = self._server
        assert server is not None
        made: asyncio.Protocol = server.config.http_protocol_class(  # type: ignore[call-arg]
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        return made


def bound(host: str, port: int) -> socket.socket:
    """A TCP socket with this address, which does not listen yet. Raises `OSError`, `OverflowError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named TCP, or asyncio leaves Nagle's algorithm on: a body in its own segment then waits 40 ms for an ACK
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError):
        made.close()
        raise
    return made
