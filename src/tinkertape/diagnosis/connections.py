"""The connections of one process to the service: what broke, and the spells in which nothing got through.

A *break* is an exchange that brought no whole answer; any answer, a 5xx too, proves that the service was reached. A
*spell* is a run of breaks with no answer between them: it begins when the first one failed (a timeout: when it was
asked) and ends with the next answer's headers. `Book` feeds it; the partition and the detectors read it.

Never blamed on the network (facts/partition.md §7.3): a break whose exchange the SDK's loop, a want of processors or a
suspended machine covered for `LOCAL_SHARE` of it, and for 1 s: nobody breaks a connection off sooner. A busy run is
told when it is over, so a break is judged a moment after it happened.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tinkertape.context import Event
from tinkertape.diagnosis.records import BusyRuns
from tinkertape.diagnosis.stamps import busy_ns

Kind = Literal["refused", "name", "connect", "reset", "half", "timeout", "silent"]

LOCAL_SHARE = 0.4  # of the exchange: as LOOP_BUSY_SHARE (facts/partition.md §7.3)
LOCAL_MIN_NS = 1_000_000_000
JUDGED_AFTER_NS = 100_000_000  # the busy run that held a stamp ends, and is told, within that (book.SETTLE_NS)
SILENT_NS = 20_000_000_000  # two heartbeats of the SDK: one of them would have been answered by then
SILENT_AGAIN_NS = 5_000_000_000  # a second exchange was sent so much later: the SDK's loop was alive
SPELLS_KEPT = 1000
WAITS_KEPT = 4000
OPEN_KEPT = 16_000  # exchanges, and things that are tried again
POLLS = "/api/v1/retrieve_future"  # held for up to 45 s: no answer is no silence
SETUP_PATHS = ("/api/v1/client/config", "/api/v1/client/dynamic_config", "/api/v1/auth/token", "/api/v1/create_session")
NOT_CONNECTED = frozenset({"ConnectError", "ConnectTimeout", "ProxyError", "ConnectionRefusedError", "gaierror"})
TIMEOUTS = frozenset({"ReadTimeout", "WriteTimeout", "TimeoutException", "APITimeoutError"})
_BROKEN = frozenset(
    {
        "APIConnectionError",
        "CloseError",
        "ConnectionResetError",
        "BrokenPipeError",
        "NetworkError",
        "ReadError",
        "RemoteProtocolError",
        "StreamError",
        "TransportError",
        "WriteError",
    }
)
KIND_WORDS: dict[Kind, str] = {
    "refused": "refused",
    "name": "name not found",
    "connect": "not connected",
    "reset": "broken off",
    "half": "answered by half",
    "timeout": "not answered in time",
    "silent": "not answered yet",
}
BREAKS_MIN = 2  # of a spell in which the service is unreachable
UNREACHABLE_MIN_NS = 1_000_000_000
BROKEN_OFF_MIN_NS = 10_000_000_000  # each is made, and breaks: flaky, if others are answered
UNREACHABLE_KINDS = frozenset({"refused", "name", "connect", "timeout", "silent"})


@dataclass(slots=True)
class Break:
    """One exchange without a whole answer. `again_ns` is when it was sent again, None while it was not."""

    kind: Kind
    error_type: str
    path: str
    operation_id: int | None
    began_ns: int
    ended_ns: int
    starved_ns: int = 0
    what: Hashable = None  # the same for what is tried again
    again_ns: int | None = None

    @property
    def at_ns(self) -> int:
        """Since when nothing got through, as far as this one says."""
        return self.began_ns if self.kind in ("timeout", "silent") else self.ended_ns


@dataclass(slots=True)
class Wait:
    """One thing that was tried again and again in a spell: from its first break until it was sent after the last."""

    operation_id: int | None
    path: str
    began_ns: int
    last: Break

    def ended_ns(self, now_ns: int) -> int:
        return now_ns if self.last.again_ns is None else self.last.again_ns


@dataclass(slots=True, eq=False)
class Spell:
    """Breaks with no answer between them; open while `answered_ns` is None."""

    number: int  # in its process
    began_ns: int
    answered_before_ns: int
    last_ns: int = 0
    answered_ns: int | None = None
    breaks: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    error_types: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    waits: dict[Hashable, Wait] = field(default_factory=dict)  # by what was tried again

    def add(self, made: Break) -> None:
        """One more; of many things that were tried, the newest `WAITS_KEPT` are known."""
        self.last_ns = max(self.last_ns, made.at_ns)
        self.breaks += 1
        self.kinds[made.kind] += 1
        self.error_types[made.error_type] += bool(made.error_type)
        self.paths[made.path] += 1
        self.waits.setdefault(made.what, Wait(made.operation_id, made.path, made.began_ns, made)).last = made
        keep_newest(self.waits, WAITS_KEPT)

    def length_ns(self, now_ns: int) -> int:
        return (now_ns if self.answered_ns is None else self.answered_ns) - self.began_ns

    def is_unreachable(self, now_ns: int) -> bool:
        """Did nothing get through, or did connections only break?"""
        least = UNREACHABLE_MIN_NS if UNREACHABLE_KINDS & set(self.kinds) else BROKEN_OFF_MIN_NS
        return self.breaks >= BREAKS_MIN and self.length_ns(now_ns) >= least


@dataclass(slots=True, eq=False)
class _Open:
    """An exchange that is not over."""

    began_ns: int
    path: str
    operation_id: int | None
    silent: bool = False


class Connections:
    """What is known of one process's connections."""

    def __init__(self) -> None:
        self.spells: list[Spell] = []  # the newest `SPELLS_KEPT`, in the order in which they were judged
        self.spells_judged = 0
        self.spell: Spell | None = None  # the one that is open
        self.setup: list[Break] = []  # of exchanges for the whole client: a call may wait for them inside
        self.last_answer_ns = 0
        self.answers = 0
        self.stood_still = BusyRuns()  # the process was suspended
        self.unjudged: list[tuple[int, int, Break | None]] = []  # a heap of breaks and answers (None), by when
        self._open: dict[Any, _Open] = {}
        self._tried: dict[Hashable, Break] = {}  # the last break of each thing that is tried again
        self._number = 0

    def setup_waits(self, began_ns: int, ended_ns: int, now_ns: int) -> list[tuple[int, int]]:
        """From a break of an exchange for the whole client, in this stretch, until it was sent again."""
        inside = [made for made in self.setup if began_ns <= made.began_ns < ended_ns]
        return [(made.began_ns, now_ns if made.again_ns is None else made.again_ns) for made in inside]

    def follow(self, event: Event, now_ns: int, sdk_busy: BusyRuns) -> None:
        """Take one event of the process: those in `FOLLOWED`, and any while something is `unjudged`. `now_ns` is the
        newest stamp.
        """
        action = _ACTIONS.get(event.name)
        if action is not None:
            stamp = event.measurements.get("monotonic_time")
            action(self, event, event.monotonic_ns if stamp is None else int(stamp))
        if self.unjudged:
            self._judge(now_ns, sdk_busy, over=event.name == "telemetry.session.stop")

    def _began(self, event: Event, at_ns: int) -> None:
        """An exchange is sent."""
        metadata = event.metadata
        opened = _Open(at_ns, str(metadata.get("path") or ""), metadata.get("operation_id"))
        self._open[metadata.get("http_id")] = opened
        keep_newest(self._open, OPEN_KEPT)
        known = self._tried.pop(_what(event), None) if self._tried else None
        if known is not None:
            known.again_ns = at_ns

    def _ended(self, event: Event, at_ns: int) -> None:
        """An exchange is over: answered, broken, or given up."""
        opened = self._open.pop(event.metadata.get("http_id"), None)
        measured = event.measurements
        began_ns = at_ns - int(measured.get("duration") or 0)
        headers = measured.get("headers_duration")
        if event.name.endswith(".stop"):
            self._answered(at_ns if headers is None else began_ns + int(headers))
            return
        kind = kind_of(event)
        if kind is None:
            return
        made = Break(
            kind,
            str(event.metadata.get("error_type") or ""),
            str(event.metadata.get("path") or ""),
            event.metadata.get("operation_id"),
            began_ns,
            at_ns,
            int(measured.get("starved") or 0),
            _what(event),
        )
        self._tried[made.what] = made
        keep_newest(self._tried, OPEN_KEPT)
        if made.operation_id is None and made.path in SETUP_PATHS:
            self.setup.append(made)
        if opened is None or not opened.silent:
            self._later(made.at_ns, made)

    def _answered(self, at_ns: int) -> None:
        self.answers += 1
        if self.unjudged or self.spell is not None:
            self._later(at_ns, None)
        else:
            self.last_answer_ns = max(self.last_answer_ns, at_ns)

    def _later(self, at_ns: int, what: Break | None) -> None:
        self._number += 1
        heapq.heappush(self.unjudged, (at_ns, self._number, what))

    def _judge(self, now_ns: int, sdk_busy: BusyRuns, *, over: bool) -> None:
        """Judge what is old enough to be judged; `over`: everything, for nothing comes any more."""
        while self.unjudged:
            at_ns, _, what = self.unjudged[0]
            done_ns = at_ns if what is None else what.ended_ns
            if not over and now_ns < done_ns + JUDGED_AFTER_NS:
                return
            heapq.heappop(self.unjudged)
            if what is None:
                self._close(at_ns)
            elif not self._is_local(what, sdk_busy):
                self._count(what)

    def _stood(self, event: Event, at_ns: int) -> None:
        self.stood_still.add(at_ns - int(event.measurements.get("duration") or 0), at_ns)

    def _tick(self, event: Event, now_ns: int) -> None:
        """Time passes: what nobody answers for `SILENT_NS` is silence, if the SDK's loop was seen to live meanwhile."""
        since = [each for each in self._open.values() if each.began_ns > self.last_answer_ns and each.path != POLLS]
        if len(since) < 2 or self.unjudged:
            return
        first, last = min(each.began_ns for each in since), max(each.began_ns for each in since)
        if now_ns - first < SILENT_NS or last - first < SILENT_AGAIN_NS:
            return
        for each in sorted(since, key=lambda each: each.began_ns):
            if not each.silent:
                each.silent = True
                self._count(Break("silent", "", each.path, each.operation_id, each.began_ns, now_ns, 0, each))

    def _is_local(self, made: Break, sdk_busy: BusyRuns) -> bool:
        """Was it this machine that did not get to it?"""
        began, ended = made.began_ns, made.ended_ns
        kept_ns = max(busy_ns(sdk_busy, began, ended), busy_ns(self.stood_still, began, ended), made.starved_ns)
        return kept_ns >= max(LOCAL_MIN_NS, LOCAL_SHARE * (ended - began))

    def _count(self, made: Break) -> None:
        spell = self.spell
        if self.last_answer_ns > made.at_ns:  # others were answered while this one waited: a spell of no length
            self._new(Spell(self.spells_judged, made.at_ns, made.at_ns, answered_ns=made.at_ns)).add(made)
            return
        if spell is None:
            spell = self.spell = self._new(Spell(self.spells_judged, made.at_ns, self.last_answer_ns or made.at_ns))
        spell.began_ns = min(spell.began_ns, made.at_ns)
        spell.add(made)

    def _new(self, spell: Spell) -> Spell:
        self.spells_judged += 1
        self.spells.append(spell)
        del self.spells[:-SPELLS_KEPT]
        return spell

    def spells_since(self, number: int) -> list[Spell]:
        """Those with this number and greater ones, of those that are kept."""
        return [spell for spell in self.spells if spell.number >= number] if number < self.spells_judged else []

    def _close(self, at_ns: int) -> None:
        self.last_answer_ns = max(self.last_answer_ns, at_ns)
        spell = self.spell
        if spell is not None and at_ns > spell.began_ns:
            spell.answered_ns = at_ns
            self.spell = None


def keep_newest(items: dict[Any, Any], most: int) -> None:
    """Drop what was put in first, above so many."""
    while len(items) > most:
        del items[next(iter(items))]


def kind_of(event: Event) -> Kind | None:
    """How an exchange broke; None for what is no break: cancelled, refused here, or no room in the pool."""
    error_type = str(event.metadata.get("error_type") or "")
    reason = str(event.metadata.get("reason") or "").lower()
    if error_type in NOT_CONNECTED:
        if "refused" in reason or error_type == "ConnectionRefusedError":
            return "refused"
        named = ("dns error", "name or service", "name resolution", "failed to lookup", "nodename", "getaddrinfo")
        return "name" if error_type == "gaierror" or any(word in reason for word in named) else "connect"
    if error_type in TIMEOUTS:
        return "timeout"
    if error_type not in _BROKEN:
        return None
    return "half" if "headers_duration" in event.measurements else "reset"


def _what(event: Event) -> Hashable:
    """What an exchange is for: the same when it is tried again."""
    metadata = event.metadata
    of = metadata.get("submission_id") or metadata.get("request_id") or metadata.get("operation_id")
    return (metadata.get("path"), of)


_ACTIONS: Mapping[str, Callable[[Connections, Event, int], None]] = {
    "tinker.http.request.start": Connections._began,
    "tinker.http.request.stop": Connections._ended,
    "tinker.http.request.exception": Connections._ended,
    "clock.tick": Connections._tick,
    "clock.gap": Connections._stood,
}
FOLLOWED = frozenset(_ACTIONS)
