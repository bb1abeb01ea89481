"""What a metric cannot do is said once in the log, by its name and the reason; after that it is only counted."""

from __future__ import annotations

import logging

from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import Reason, Skipped, why_skipped

_log = logging.getLogger("tinkertape")


class Notices:
    """What has been said. Any thread: two at the same moment may say it twice."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def say_once(
        self, metric: Metric, reason: str, what: str, level: int = logging.WARNING, error: Exception | None = None
    ) -> None:
        """Log the first of its kind."""
        key = (metric.name, reason)
        if key not in self._said:
            self._said.add(key)
            _log.log(level, "tinkertape: metric %s %s (counted, said once)", metric.name, what, exc_info=error)

    def say_skipped(self, metric: Metric, error: Exception) -> Reason:
        """Say why an event was of no use to the metric; the reason, to count it by."""
        skipped = why_skipped(error)
        self.say(metric, skipped)
        return skipped.reason

    def say(self, metric: Metric, skipped: Skipped) -> None:
        """Say that an event was of no use to the metric."""
        level = logging.DEBUG if skipped.reason == "missing_measurement" else logging.WARNING
        raised = skipped.what if isinstance(skipped.what, Exception) else None
        self.say_once(metric, skipped.reason, f"skips an event: {skipped.describe()}", level, raised)

    def say_full(self, metric: Metric, series_max: int) -> None:
        """Say that there is no room for another series."""
        self.say_once(metric, "overflow", f"has {series_max} series; what else comes is one more, overflow")
