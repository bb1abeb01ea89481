"""What is new in an aggregate's series since they were reported last.

An aggregate adds up, StatsD wants what came since: the difference is taken here, so that it is exact. What was sent is
remembered as it was sent: what rounding left out of one difference is in the next, and the sum of all is the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction

from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.statsd.lines import Stream
from tinkertape.metrics.values import Kept, value_of


class _Sent:
    """What a series' receiver knows."""

    __slots__ = ("began_ns", "count", "stream", "total")

    def __init__(self, stream: Stream, began_ns: int) -> None:
        self.stream = stream
        self.began_ns = began_ns
        self.count = 0  # the state's, which is another after each event
        self.total: int | Fraction = 0


class Deltas:
    """What was sent of one metric's series. One thread at a time."""

    def __init__(self, metric: Metric, stream_of: Callable[[Tags], Stream]) -> None:
        self._metric, self._stream_of = metric, stream_of
        self._sent: dict[Tags, _Sent] = {}

    def take(self, series: Iterable[Kept]) -> list[tuple[Stream, int | float]]:
        """The value to send of each series that an event changed; from then on it counts as sent.

        The newest value of a last value, else the difference. A series that began anew begins at 0.
        """
        known, self._sent = self._sent, {}
        changed: list[tuple[Stream, int | float]] = []
        for kept in series:
            sent = known.get(kept.tags)
            if sent is None or sent.began_ns != kept.began_ns:
                sent = _Sent(self._stream_of(kept.tags) if sent is None else sent.stream, kept.began_ns)
            self._sent[kept.tags] = sent
            if kept.state.count != sent.count:
                sent.count = kept.state.count
                changed.append((sent.stream, self._value(kept, sent)))
        return changed

    def _value(self, kept: Kept, sent: _Sent) -> int | float:
        value = value_of(self._metric, kept.state)
        assert isinstance(value, int | float)
        if self._metric.kind == "last_value":
            return value
        value = _difference(value, sent.total)
        sent.total += value if isinstance(value, int) else Fraction(value)
        return value


def _difference(value: int | float, sent: int | Fraction) -> int | float:
    if isinstance(value, int) and isinstance(sent, int):
        return value - sent
    return float(Fraction(value) - sent)
