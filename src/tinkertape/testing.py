"""For tests of programs that use tinkertape, or the Tinker SDK: what was executed, a service, a collector.

    with captured_events("my.thing") as events:
        do_the_thing()
    assert events.names == ["my.thing.start", "my.thing.stop"]

With pytest the same come as fixtures: `tinkertape_events`, `tinker_sim`, `tinkertape_collector` (`pytest_plugin.py`).
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tinkertape.events  # noqa: F401  declares our own
from tinkertape.bus import HANDLER_FAILURE, Bus, default_bus
from tinkertape.context import Event, declared_names
from tinkertape.errors import CollectorError, EventNameError, HandlerNotFound

if TYPE_CHECKING:
    from tinkertape.sim import Scenario, Sim

READY_WITHIN_S = 30.0  # an engine of 400 MB opens its store
END_WITHIN_S = 10.0
_OURS = (__name__, *(f"tinkertape.{room}" for room in ("bus", "dispatch", "spans", "traced", "telemetry")))
_numbers = itertools.count(1)


class CapturedEvents(list[Event]):
    """The events of a block, in the order in which they were executed."""

    @property
    def names(self) -> list[str]:
        return [event.name for event in self]

    def named(self, name: str) -> list[Event]:
        """Those of exactly this name."""
        return [event for event in self if event.name == name]


@contextlib.contextmanager
def captured_events(prefix: str = "", *, strict: bool = True, bus: Bus | None = None) -> Iterator[CapturedEvents]:
    """Keep every event below `prefix` that is executed in the block, in any thread; all events without one.

    With `strict`, the block ends by `EventNameError` if a name was executed, below any prefix, that no `EventType`
    declares and no handler is attached to: most often a slip of the pen, which `execute` itself lets pass. It also ends
    by the exception of a handler that failed in it. An exception of the block itself goes first.
    """
    bus = default_bus if bus is None else bus
    captured, seen = CapturedEvents(), _Seen(bus)
    number = next(_numbers)
    capturing, watching = ("tinkertape.testing", number), ("tinkertape.testing.names", number)
    bus.attach_all(capturing, lambda *call: captured.append(Event.of(*call[:3])), prefix=prefix, on_failure="keep")
    bus.attach_all(watching, seen, on_failure="keep")
    try:
        yield captured
        if strict:
            seen.check()
    finally:
        for handler_id in (capturing, watching):
            with contextlib.suppress(HandlerNotFound):
                bus.detach(handler_id)


class _Seen:
    """The names that were executed, with the place of the first, and the first failure of a handler."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._places: dict[str, str] = {}
        self._failure: BaseException | None = None

    def __call__(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any], _: object) -> None:
        if event == HANDLER_FAILURE and self._failure is None:
            self._failure = metadata["reason"]
        if event not in self._places:
            self._places[event] = _place_of_caller()

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure
        listened_to = {handler.event_name for handler in self._bus.list_handlers()}
        known = {*declared_names(), *listened_to, HANDLER_FAILURE}
        for event, place in self._places.items():
            if event not in known:
                near = difflib.get_close_matches(event, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "; declare it with EventType, or use strict=False"
                raise EventNameError(f"{place} executes {event!r}, which nobody declares or listens to{hint}")


def _place_of_caller() -> str:
    """File and line of whoever executed the event: the nearest frame that is not of the bus."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", __name__).startswith(_OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


@contextlib.contextmanager
def sim(scenario: Scenario | None = None, *, truth: Path | str | None = None) -> Iterator[Sim]:
    """A simulated Tinker service on loopback while in the block, and the SDK's environment pointing at it.

    `scenario` None is healthy and quick. What is given is the service: `url`, `truth_lines()`, `scenario`. It needs
    the extra `[server]`. Raises `SimError`.
    """
    from tinkertape import sim as service  # noqa: PLC0415  the extra [server]

    with service.start(scenario, truth=truth) as running:
        settings = {"TINKER_BASE_URL": running.url, "TINKER_API_KEY": "tml-simulated"}
        with _environment(settings):
            yield running


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    former = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class RunningCollector:
    """A collector in a process of its own: `url`, and its `folder` with inbox, store and tapes."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def get(self, path: str) -> Any:
        """What it answers to a GET, decoded: `get("/api/v1/ledger")`. Raises `urllib.error.HTTPError`."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=READY_WITHIN_S) as answer:
            return json.load(answer)


@contextlib.contextmanager
def collector(folder: Path | str | None = None) -> Iterator[RunningCollector]:
    """A real collector with its store, on loopback, while in the block. `folder` None is one that is deleted after it.

    It needs the extra `[server]`. Raises `CollectorError` with its last words when it does not start.
    """
    with contextlib.ExitStack() as stack:
        home = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="tinkertape-")))
        tapes = home / "tapes"
        tapes.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tinkertape", "serve", "--port", "0", "--tapes", str(tapes)]
        command += ["--store", f"chdb://{(home / 'store').resolve()}", "--inbox", str(home / "inbox")]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        stack.callback(_end, process)
        yield RunningCollector(_address(process), home)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None and process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline().strip() if selector.select(READY_WITHIN_S) else ""
    if line:
        threading.Thread(target=process.stderr.read, name="tinkertape-testing", daemon=True).start()  # never full
        return line
    process.kill()
    words = process.stderr.read().strip().splitlines()
    raise CollectorError(f"the collector did not start: {words[-1] if words else 'it said nothing'}")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
