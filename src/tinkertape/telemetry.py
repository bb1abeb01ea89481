"""`Telemetry`: what `start()` gives back. It owns the recorder and its tape, the sources that it switched on, and
delivery.

Threads  `start`, `log`, `flush` and `close` run in the caller's; recorder, delivery and monitor have one daemon thread
each, the poller two.
Locks    `_start_lock`: one start or close at a time, never during I/O on the network.
Fork     a child goes on recording into the same run, a file of its own; its parent delivers it.
Exit     `close`, at the latest at interpreter exit, waits `exit_timeout_s` at most for delivery; the tape keeps the
rest.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from tinkertape import redact, signals
from tinkertape.bus import Attachment, Bus, default_bus
from tinkertape.config import Settings, check_start, folder_to_record_into, is_run_id, load_settings, new_ulid
from tinkertape.context import current_scope, current_span, with_severity
from tinkertape.delivery import Delivery
from tinkertape.errors import HandlerNotFound
from tinkertape.event_name import check_logged
from tinkertape.exception_record import exception_metadata, exit_status_of, first_fatal, is_failure, status_of
from tinkertape.guard import guarded
from tinkertape.instrument import clock
from tinkertape.instrument import process as process_source
from tinkertape.instrument import tinker as tinker_source
from tinkertape.instrument.poller import Poller
from tinkertape.instrument.tinker.release import installed_release
from tinkertape.tape import Ledger, Recorder
from tinkertape.tape.recorder import LARGE
from tinkertape.tape.snapshot import UNENCODABLE, encode_snapshot, is_from_outside
from tinkertape.wire import SEVERITIES
from tinkertape.workers import at_the_end_of_forked_workers, at_the_end_of_this_worker, what_ends_this_process

if TYPE_CHECKING:
    from tinkertape.diagnosis import Watcher

Status = Literal["success", "errored", "interrupted"]
HANDLER_ID = "tinkertape.recorder"
BEGINNING_S = 0.5  # for the tape's first lines, which are there when `start` returns, on a disk that answers
DEATH_S = 0.5  # for the tape, and for its delivery, when SIGTERM ends the program

_now_ns, _span_get, _scope_get = time.perf_counter_ns, current_span.get, current_scope.get
_log = logging.getLogger("tinkertape")
_start_lock = threading.RLock()
_current: Telemetry | None = None


class Telemetry:
    """A run being recorded. Made by `start`; a context manager; closed at exit at the latest.

    `run` is the run's id, `session_id` what the wire carries, `tape` the run's folder. While recording is off
    (`TINKERTAPE_OFF=1`) every method works and records nothing.
    """

    def __init__(self, run: str, session_id: str | None, folder: Path, bus: Bus) -> None:
        self.run = run
        self.session_id = session_id or run
        self.tape = folder
        self.watcher: Watcher | None = None
        self._bus = bus
        self._recorder: Recorder | None = None
        self._heard_by = bus.heard_by
        self._recorder_alone: tuple[Attachment, ...] = ()  # what that has, while it records, of most names
        self._delivery: Delivery | None = None
        self._exit_timeout_s = 2.0
        self._began_ns = time.perf_counter_ns()
        self._instrumented = False
        self._poller: Poller | None = None  # the clock, and what is measured of the process
        self._closed = False
        self._depth = 0  # `with` blocks inside each other
        self.kept = False  # by whoever runs the program: `close` leaves it open
        self._process = os.getpid()

    @property
    def recording(self) -> bool:
        """Is it still open, and recording?"""
        return self._recorder is not None and not self._closed

    def _record_with(self, recorder: Recorder) -> None:
        self._recorder = recorder
        recorder.attach(self._bus, HANDLER_ID)
        self._recorder_alone = self._bus.alone(HANDLER_ID)

    def log(
        self,
        event_name: str,
        event_data: Mapping[str, Any] | None = None,
        *,
        severity: str = "INFO",
    ) -> bool:
        """Record an event of your own; whoever is attached to its name hears it too.

        `event_data` may hold anything: what JSON cannot say is rendered safely. Returns whether it was accepted: False
        while recording is off and after `close`. What was accepted and found no room is in the ledger, as dropped.
        Never raises for the data. Raises `ValueError` for a severity that is none of DEBUG, INFO, WARNING, ERROR,
        CRITICAL, and `EventNameError` for a name that is no text.
        """
        recorder = self._recorder
        if severity != "INFO" or recorder is None:
            return self._log(event_name, event_data, severity)
        span = _span_get()  # nearly all: `_log` and `Recorder.take`, written out
        ids = None if span is None else (span.trace_id, span.span_id)
        parts = (_now_ns(), event_name, event_data, _scope_get(), ids)
        try:
            heard_by, snapshot = self._heard_by[event_name], encode_snapshot(parts)
        except UNENCODABLE as error:  # or a name that is new
            accepted = self._log(event_name, event_data, severity)
            if is_from_outside(error, parts):
                raise
            return accepted
        queue = recorder.queue
        if heard_by is not self._recorder_alone or len(snapshot) > LARGE or len(queue) >= recorder.room:
            return self._log(event_name, event_data, severity)
        queue.append(snapshot)
        if recorder.writer.asleep:
            recorder.writer.wake()
        return True

    def _log(self, event_name: str, event_data: Any, severity: str) -> bool:
        """`log`, of anything."""
        if severity not in SEVERITIES:
            raise ValueError(f"unknown severity {severity!r}: use one of {', '.join(SEVERITIES)}")
        check_logged(event_name)
        recorder = self._recorder
        accepted = recorder is not None and not self._closed and recorder.log(event_name, event_data, severity)
        if self._bus.handlers_of(event_name) is not self._recorder_alone:
            self._tell(event_name, event_data, severity)
        return accepted

    def _tell(self, event_name: str, event_data: Any, severity: str) -> None:
        """Call whoever is attached to a logged name besides the recorder, which has it already."""
        others = tuple(handler for handler in self._bus.handlers_of(event_name) if handler.id != HANDLER_ID)
        if others:
            with with_severity(severity):
                self._bus.call(others, event_name, {}, event_data if isinstance(event_data, Mapping) else {})

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Bring the tape up to date with what was recorded until now; True when it is, within `timeout_s`."""
        return self._recorder is None or self._recorder.flush(timeout_s)

    def ledger(self) -> Ledger:
        """The exact count of this process's events. `stored` is 0 here: only a collector knows what it stored."""
        return self._recorder.ledger() if self._recorder is not None else Ledger()

    def close(self, status: Status = "success") -> None:
        """End the run's recording in this process: the last event, the tape's end, and what delivery still manages in
        `exit_timeout_s`. Under `tinkertape run` the run goes on: it is the command that ends it.
        """
        if not self.kept:
            self.end(status)

    def end(self, status: Status, exit_status: int | None = None, *, timeout_s: float | None = None) -> None:
        """Close, also what is kept open: at the end of the program, of which `exit_status` is what a shell will see."""
        is_dying = timeout_s is not None  # who was interrupted may hold the lock of a log
        timeout_s = self._exit_timeout_s if timeout_s is None else timeout_s
        deadline_s = time.monotonic() + timeout_s  # for the tape and its delivery together
        with signals.held():  # a pool tells its workers to end twice, the second time by SIGTERM
            if not self._end_tape(status, exit_status, timeout_s):
                return
        with guarded("telemetry.close"):
            if self._delivery is not None:
                self._delivery.close(max(0.0, deadline_s - time.monotonic()))
        with guarded("telemetry.close"):
            lost = self.ledger().never_written
            if lost and not is_dying and not self.kept:
                _log.warning("tinkertape: not all of run %s was recorded: events were lost by %s", self.run, lost)

    def _end_tape(self, status: Status, exit_status: int | None, timeout_s: float) -> bool:
        """Close the sources and the tape, once."""
        global _current
        with _start_lock:
            if self._closed or self._process != os.getpid():
                return False
            with guarded("telemetry.close"):
                self._close_sources(status, exit_status)
            self._closed = True
            self._recorder_alone = ()
            if _current is self:
                _current = None
                atexit.unregister(close_at_exit)
                if os.environ.get("TINKERTAPE_RUN") == self.run:
                    del os.environ["TINKERTAPE_RUN"]
        if self._recorder is not None:
            with guarded("telemetry.close"):
                self._recorder.close(status, timeout_s)
            with guarded("telemetry.sigterm"):
                signals.forget()
        return True

    def _close_sources(self, status: Status, exit_status: int | None) -> None:
        stops: list[Callable[[], object]] = [self.watcher.close] if self.watcher is not None else []
        stops += [process_source.uninstall, tinker_source.uninstall] if self._instrumented else []
        stops += [self._poller.stop] if self._poller is not None else []
        for stop in stops:
            with guarded("telemetry.close"):  # one that fails keeps none of the others on
                stop()
        now_ns = time.perf_counter_ns()
        if self.recording:
            measurements = {"duration": now_ns - self._began_ns, "monotonic_time": now_ns}
            known = {} if exit_status is None else {"exit_status": exit_status}
            self._bus.execute("telemetry.session.stop", measurements, {"status": status, **known})
        with contextlib.suppress(HandlerNotFound):
            self._bus.detach(HANDLER_ID)

    def __enter__(self) -> Self:
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth > 0 or self.kept:  # whoever opened it may still catch the exception
            return
        if error is not None:
            self.record_fatal(error)
        self.close(status_of(error))

    def record_fatal(self, error: BaseException) -> None:
        """Record an exception that ends the program, once; UNHANDLED_EXCEPTION on the wire. The session goes on.

        Interrupts and exits are no such exception.
        """
        with guarded("telemetry.record_fatal"):
            if is_failure(error) and first_fatal(error):
                self._bus.execute("telemetry.exception", {}, exception_metadata(error))


def start(
    name: str | None = None,
    *,
    url: str | None = None,
    key: str | None = None,
    directory: str | Path | None = None,
    session_id: str | None = None,
    project: str = "default",
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] | None = None,
    flush_threshold: int = 100,
    flush_interval_s: float = 60.0,
    max_pending: int = 100_000,
    max_bytes: int | None = None,
    durability: Literal["kill", "power"] = "kill",
    exit_timeout_s: float = 2.0,
    instrument: bool = True,
    watch: bool = False,
    bus: Bus | None = None,
) -> Telemetry:
    """Start recording this process, and give back the `Telemetry` that does it; a second start gives back the running
    one, with a warning.

    It opens a tape below `directory`, attaches the recorder to `bus` (the default one), delivers to the collector at
    `url` if there is one, and records the Tinker SDK and the process itself, unless `instrument=False`.
    `watch=True` runs the detectors live. `flush_threshold` events or `flush_interval_s` seconds make a batch for a
    foreign server; a collector of ours is sent 500 events, 256 kB or 1 s at a time. `max_pending` events at most wait
    in memory. The run's folder takes `max_bytes` at most: then the oldest events go, those first that were delivered.
    `durability="power"` syncs every write to the disk. The first lines are on tape when it returns, or after 0.5 s.

    Raises `ConfigError` for an argument or setting that cannot be used and `TapeError` for a folder that cannot be
    written.
    """
    global _current
    check_start(max_pending, max_bytes, flush_threshold, flush_interval_s, exit_timeout_s, durability, metadata, tags)
    with _start_lock:
        if _current is not None and _is_running():
            if _current._process == os.getpid():  # a forked child goes on recording, and asks as any other
                _log.warning("tinkertape: already recording run %s; start() gives it back", _current.run)
            return _current
        settings = load_settings(directory=directory, url=url, key=key, name=name)
        run = settings.run if settings.run and is_run_id(settings.run) else new_ulid()
        telemetry = Telemetry(run, session_id, settings.tapes / run, bus or default_bus)
        if settings.off:
            return telemetry
        if settings.redact_emails:
            redact.add(emails=True)
        folder_to_record_into(telemetry.tape)
        telemetry._exit_timeout_s = exit_timeout_s
        header = _header(settings, project, session_id, metadata, tags)
        bounded = partial(Recorder, max_pending=max_pending, max_bytes=max_bytes)
        telemetry._record_with(bounded(telemetry.tape, run, header=header, durability=durability))
        with signals.unsignalled():  # its threads leave the program's signals to the program
            _switch_on(telemetry, settings, instrument, watch, flush_threshold, flush_interval_s)
        _current = telemetry
        os.environ["TINKERTAPE_RUN"] = run
        atexit.register(close_at_exit)
        at_the_end_of_this_worker(close_at_exit)
    telemetry.flush(BEGINNING_S)  # a program that is gone at once, by `os._exit` or another's image, was there
    return telemetry


def _header(
    settings: Settings,
    project: str,
    session_id: str | None,
    metadata: Mapping[str, Any] | None,
    tags: Sequence[str] | None,
) -> dict[str, Any]:
    script = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c") else "python"
    return {
        "name": settings.name or Path(script).stem,
        "project": project,
        "session_id": session_id,
        "sdk_version": installed_release(),
        "metadata": dict(metadata or {}),
        "tags": list(tags or ()),
        "exe": script,
    }


def _switch_on(
    telemetry: Telemetry,
    settings: Settings,
    instrument: bool,
    watch: bool,
    flush_threshold: int,
    flush_interval_s: float,
) -> None:
    if watch:
        with guarded("telemetry.watch"):  # as below: where no thread is to be had, the program goes on without
            from tinkertape.diagnosis import watch as watch_bus  # noqa: PLC0415  3 000 objects for Python's collector

            telemetry.watcher = watch_bus(telemetry._bus)
    began = {"monotonic_time": telemetry._began_ns, "system_time": time.time_ns()}
    telemetry._bus.execute("telemetry.session.start", began, {"run_name": settings.name or ""})
    telemetry._poller = Poller([], bus=telemetry._bus)
    telemetry._poller.add(clock.ticking(tinker_source.in_flight), name="clock", period_s=clock.BUSY_PERIOD_S)
    if instrument:
        telemetry._instrumented = True
        with guarded("telemetry.instrument"):
            tinker_source.install()
            process_source.install(poller=telemetry._poller)
    with guarded("telemetry.poller"):
        telemetry._poller.start()
    if settings.url:
        telemetry._delivery = Delivery(
            telemetry.tape,
            settings.url,
            key=settings.key,
            flush_threshold=flush_threshold,
            flush_interval_s=flush_interval_s,
        )
        with guarded("telemetry.delivery"):
            telemetry._delivery.start()
    with guarded("telemetry.sigterm"):
        signals.before_sigterm(lambda: telemetry.end("interrupted", 128 + signals.SIGTERM, timeout_s=DEATH_S))


@contextlib.contextmanager
def record(name: str | None = None, **settings: Any) -> Iterator[Telemetry]:
    """Record what happens inside: `with tinkertape.record("nightly") as telemetry:`.

    Takes what `start` takes; an exception that leaves the block is recorded, and goes on. Inside a run that is being
    recorded it joins that run, and leaves it open.
    """
    joins = _is_running()
    telemetry = start(name, **settings)
    if joins:
        yield telemetry
    else:
        with telemetry:
            yield telemetry


def _is_running() -> bool:
    """Is there a run that is being recorded, in a forked child its parent's?"""
    return _current is not None and _current.recording


def get_telemetry() -> Telemetry | None:
    """The `Telemetry` that is recording this process, or None."""
    return _current


def close_at_exit(timeout_s: float | None = None) -> None:
    """Close what is being recorded, with how the program or the worker ended."""
    if (telemetry := _current) is None:
        return
    error = what_ends_this_process()
    if error is not None:
        telemetry.record_fatal(error)
    telemetry.end(status_of(error), None if error is None else exit_status_of(error), timeout_s=timeout_s)


at_the_end_of_forked_workers(close_at_exit)
