"""Events of our own sources wait for the writer as they were told: who describes them, and what is to be described.

What runs in the midst of the SDK's own work costs several times what it costs in the writer's loop, and a snapshot is
spared (benchmarks/RESULTS.md). Few wait so: beyond `KEPT_MAX` a snapshot takes less memory. An event in a scope that
holds what may change is encoded at once.

Threads  that of the program, which tells the event.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from tinkertape.bus import HandlerFunction
from tinkertape.context import NO_SCOPE, current_scope, current_span, replayed_now
from tinkertape.dispatch import Describe, Tell
from tinkertape.tape.snapshot import AsTold, Taken
from tinkertape.tape.writer import Writer

KEPT_MAX = 2_000  # events
_UNCHANGING = frozenset({str, int, bool})
_perf_counter_ns = time.perf_counter_ns
_span_get, _scope_get = current_span.get, current_scope.get


class Told:
    """Puts them into a recorder's queue; `record` takes those that cannot wait as they are."""

    def __init__(self, queue: deque[Taken], writer: Writer, record: HandlerFunction, room: int) -> None:
        self.room = min(room, KEPT_MAX)  # below 0: nothing is taken any more, as `record` will say
        self.taker = self._taker(queue, writer, record)
        self._plain_scope: Mapping[str, Any] = NO_SCOPE

    def _taker(self, queue: deque[Taken], writer: Writer, record: HandlerFunction) -> Callable[[str, str], Tell]:
        """What makes of an event's name and severity what takes it. All of them share what they have in common, in the
        sight of the collector of cycles."""
        append = queue.append

        def taker(event: str, severity: str) -> Tell:
            def take(describe: Describe, subject: Any) -> None:
                scope = _scope_get()
                if len(queue) >= self.room or (scope is not NO_SCOPE and not self._is_plain(scope)) or replayed_now():
                    record(event, *describe(subject), None)
                    return
                append(AsTold(_perf_counter_ns(), event, severity, describe, subject, scope, _span_get()))
                if writer.asleep:
                    writer.wake()

            return take

        return taker

    def _is_plain(self, scope: Mapping[str, Any]) -> bool:
        """Does it hold nothing that can change? Remembered: it is that of many events."""
        if scope is self._plain_scope:
            return True
        if not all(value is None or type(value) in _UNCHANGING for value in scope.values()):
            return False
        self._plain_scope = scope
        return True
