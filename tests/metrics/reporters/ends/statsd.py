"""StatsD's: a real UDP socket for each dialect, and a strict reader behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace
from tests.metrics.reporters.ends import Arrived, Key
from tests.metrics.reporters.receiver import Receiver, Sample, gauge_after, samples_of

from tinkertape.bus import Bus
from tinkertape.metrics import Metric
from tinkertape.metrics.reporters.statsd import StatsDReporter


class Datadog:
    formatter = "datadog"

    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None:
        self._receiver = Receiver()
        self._found: dict[Key, Arrived] = {}
        self._kinds = {(metric.name, metric.kind) for metric in metrics}
        options: dict[str, Any] = {"port": self._receiver.port, "formatter": self.formatter, "period_s": 3_600}
        self.reporter = StatsDReporter(metrics, bus=bus, **options)

    def read(self) -> dict[Key, Arrived]:
        assert self.reporter.flush(10)
        for sample in samples_of(self._receiver.read(), self.formatter):
            key = self._key_of(sample)
            self._found[key] = self._arrived(key[0], self._found.get(key, Arrived()), sample)
        return self._found.copy()

    def _key_of(self, sample: Sample) -> Key:
        return sample.name, frozenset(sample.tags)

    def _arrived(self, name: str, before: Arrived, sample: Sample) -> Arrived:
        total = (before.sum or 0) + sum(sample.values)
        match sample.type:
            case "c" if (name, "counter") in self._kinds:
                return Arrived(count=int(total), sum=total)
            case "c":
                return Arrived(sum=total)
            case "g":
                return Arrived(last=sample.values[-1])
        return Arrived(count=(before.count or 0) + len(sample.values), sum=total)

    def close(self) -> None:
        self.reporter.close()
        self._receiver.close()


class Standard(Datadog):
    """Tags have no names on this wire: they are known from the definitions, as to who reads the series later."""

    formatter = "standard"

    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None:
        self._keys: dict[str, list[str]] = {}
        super().__init__([self._watched(metric) for metric in metrics], bus)

    def _watched(self, metric: Metric) -> Metric:
        tags: Any = metric.tags
        if not callable(tags):
            self._keys[metric.name] = list(tags)
            return metric

        def watched(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
            found: Mapping[str, Any] = tags(metadata)
            self._keys[metric.name] = sorted(found)
            return found

        return replace(metric, tags=watched)

    def _key_of(self, sample: Sample) -> Key:
        name = max((known for known in self._keys if f"{sample.name}.".startswith(f"{known}.")), key=len)
        values = sample.name.removeprefix(name).split(".")[1:]
        return name, frozenset(zip(self._keys[name], values, strict=True))

    def _arrived(self, name: str, before: Arrived, sample: Sample) -> Arrived:
        if sample.type != "g":
            return super()._arrived(name, before, sample)
        text = sample.text.partition(":")[2].partition("|")[0]
        is_sum = (name, "sum") in self._kinds
        after = gauge_after(before.sum if is_sum else before.last, text)
        return Arrived(sum=after) if is_sum else Arrived(last=after)


ENDS = [Datadog, Standard]
