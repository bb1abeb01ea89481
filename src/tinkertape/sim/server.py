"""Starts and stops the simulated service: in a thread (`start`), or as a program of its own (`serve`). Loopback only.

Threads  "tinkertape-sim" runs the event loop with all of the service; `start` and `close` are called from any other
thread. Locks    none; `close` speaks to the loop through `call_soon_threadsafe`. Fork     a child has no service; it
must not close its parent's. Exit     the thread is a daemon; `close` waits 5 s at most.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec
import uvicorn

from tinkertape.sim.errors import SimError
from tinkertape.sim.exchange import is_loopback
from tinkertape.sim.faults import Outage
from tinkertape.sim.network import BACKLOG, bound
from tinkertape.sim.payloads import schema
from tinkertape.sim.routes import app
from tinkertape.sim.scenario import Scenario
from tinkertape.sim.service import Service
from tinkertape.sim.state import State
from tinkertape.sim.truth import Truth, read_truth

START_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0


class Sim:
    """A running service: `url`, `truth` (its file, or None), `go_away()`, `close()`. A context manager, too."""

    def __init__(
        self, scenario: Scenario, listener: socket.socket, truth: Path | None, state: State | None = None
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.truth = truth
        self.scenario = scenario
        self._writer = Truth(truth)
        self._listener = listener
        self._service = Service(scenario, self._writer, state)
        config = uvicorn.Config(
            app(self._service),
            loop="asyncio",  # its timers are finer than uvloop's whole milliseconds
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            backlog=BACKLOG,
        )
        self._server = uvicorn.Server(config)
        self._service.network.attach(self._server)
        self._thread = threading.Thread(target=self._run, name="tinkertape-sim", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = os.getpid()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])

    def _start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + START_WITHIN_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise SimError(f"the simulated service did not start at {self.url}")
            time.sleep(0.002)
        facts: dict[str, Any] = {"wall_ns": time.time_ns(), "pid": os.getpid(), "url": self.url}
        self._writer.write("began", **facts, scenario=msgspec.to_builtins(self.scenario))

    def truth_lines(self) -> list[dict[str, Any]]:
        """What the truth file says so far."""
        return [] if self.truth is None else read_truth(self.truth)

    def go_away(self, length_s: float, how: Literal["refused", "silent", "restarted"] = "refused") -> None:
        """From now on nothing gets through for so long (`Outage`). Returns at once."""
        if self._loop is not None:
            outage = Outage(nth=1, length_s=length_s, how=how)
            self._loop.call_soon_threadsafe(self._service.network.begin, outage, {})

    def close(self) -> None:
        """Stop: held polls are let go, the port is free, the truth file ends.

        Twice does no harm. In a forked child it does nothing.
        """
        if os.getpid() != self._process:
            return
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._service.close)
            self._server.should_exit = True
            self._thread.join(STOP_WITHIN_S)
        if not self._thread.is_alive():
            self._listener.close()
            self._writer.end()

    def __enter__(self) -> Sim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(
    scenario: Scenario | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    truth: Path | str | None = None,
    state: Path | str | None = None,
) -> Sim:
    """Start a service in a thread and return it, listening. `scenario` None: healthy and quick. `truth` None: no file.
    `state`: the folder that what clients make is kept in, and read from; None: in memory.

    Raises `SimError` for a host that is not loopback, a port in use, a truth file that cannot be written, a folder that
    cannot be used, or no schema.
    """
    schema()
    kept = None if state is None else State(Path(state))
    listener = listen(host, port)
    try:
        sim = Sim(scenario or Scenario(), listener, None if truth is None else Path(truth), kept)
    except SimError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise SimError(f"cannot write the truth to {truth}: {error.strerror}") from error
    sim._start()
    return sim


def listen(host: str, port: int) -> socket.socket:
    if not is_loopback(host):
        raise SimError(f"the simulated service listens on loopback only, not on {host!r}; use 127.0.0.1")
    try:
        return bound(host, port)
    except (OSError, OverflowError) as error:
        raise SimError(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"cannot listen on {host}:{port}: another program does; choose another port, or 0 for any"
    reason = error.strerror if isinstance(error, OSError) else error
    return f"cannot listen on {host}:{port}: {reason}"


def serve(
    scenario: Scenario | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    truth: Path | str | None = None,
    state: Path | str | None = None,
) -> None:
    """Run a service until SIGINT or SIGTERM. Prints `{"listening": URL}` on stdout when it is ready. Main thread only.

    Raises what `start` raises.
    """
    over = threading.Event()
    earlier = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with start(scenario, host=host, port=port, truth=truth, state=state) as sim:
            sys.stdout.write(json.dumps({"listening": sim.url}) + "\n")
            sys.stdout.flush()
            over.wait()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
