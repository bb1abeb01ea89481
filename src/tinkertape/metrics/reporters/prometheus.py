"""Metrics for Prometheus, through `prometheus_client`: its registry, its text formats, its servers.

    counter       counter; `_total` is added where it is missing, and left out of all other types' names
    sum           counter, which only goes up: a negative value is skipped, and counted;
                  gauge with `reporter_options={"prometheus_type": "gauge"}`
    last_value    gauge
    distribution  histogram
    summary       summary, with the quantiles of `reporter_options={"quantiles": …}`, else 0.5, 0.9, 0.95 and 0.99

A name's segments are joined by `_`, and so are labels'; two that become alike are refused when the reporter is made,
for Prometheus would refuse the whole page (facts/beam.md P50). Series are the aggregate's, so a scrape costs the same
whatever came between two of them (P24). OpenMetrics knows no summary and no histogram of what is negative: one that is,
as rewards and log probabilities are, keeps its series and their names, and loses only its type.

Threads  `collect` runs in the thread that serves the scrape; exemplars are taken in the thread of the event. A signal's
         handler may ask for `text`, wherever it comes; but a registry of the program's own has a lock of
         `prometheus_client`'s, which a handler that interrupted it must not wait for.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import prometheus_client
from msgspec.structs import replace
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from tinkertape.bus import Bus, default_bus
from tinkertape.errors import MetricError
from tinkertape.metrics.aggregate import Aggregate
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.exemplars import Exemplar, Exemplars
from tinkertape.metrics.extraction import Tags
from tinkertape.metrics.limits import check_metrics, check_seconds
from tinkertape.metrics.non_negative import never_negative
from tinkertape.metrics.processes import SharedStates
from tinkertape.metrics.values import OVERFLOW, Family, Histogram, Quantiles

QUANTILES = (0.5, 0.9, 0.95, 0.99)
LABELS_KEPT = 10_000
_TYPES = {"counter": "counter", "last_value": "gauge", "distribution": "histogram", "summary": "summary"}
_SUFFIXES = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
}
_UNFIT = re.compile(r"[^a-zA-Z0-9_]+")
_OWN_LABELS = ("le", "quantile")  # of two types; on another, a lint error of `promtool`


_Samples = Callable[[Any, dict[str, str], Mapping[int, Exemplar]], Iterable[Sample]]


class PrometheusReporter(Collector):
    """Shows these metrics to Prometheus, from now on.

    `registry` is one of `prometheus_client`, in which they are then found too; None is one for them alone. `exemplars`
    keeps the last trace id of each bucket and counter, for spans only, and OpenMetrics shows it. `series_max` and
    `idle_s` are the `Aggregate`'s. `directory` is a folder that all processes of one program share: each scrape then
    shows the metrics of all of them (`processes.py`); empty it before the program starts. Raises `MetricError` for
    names that become alike, or are in the registry, and a folder that cannot be written.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        *,
        bus: Bus | None = None,
        registry: prometheus_client.CollectorRegistry | None = None,
        exemplars: bool = True,
        series_max: int = 1_000,
        idle_s: float | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        bus = default_bus if bus is None else bus
        check_metrics(metrics)
        check_seconds("idle_s", idle_s, or_none=True)  # after 0 s nothing would be shown
        if not isinstance(registry, prometheus_client.CollectorRegistry | None):
            raise MetricError(f"registry is {registry!r}; want a CollectorRegistry of prometheus_client's, or None")
        if not isinstance(directory, str | os.PathLike | None):
            raise MetricError(f"directory is {directory!r}; want the path of a folder, or None")
        self._shown = [_Shown(metric) for metric in metrics]
        _refuse_alike(self._shown)
        self.registry = _Registry() if registry is None else registry
        wanted = [never_negative(shown.metric) if shown.type == "counter" else shown.metric for shown in self._shown]
        self._aggregate = Aggregate(wanted, bus=bus, series_max=series_max, idle_s=idle_s)
        with_examples = [shown.metric for shown in self._shown if shown.type in ("counter", "histogram")]
        self._shared = None if directory is None else SharedStates(wanted, self._aggregate, Path(directory))
        self._exemplars = Exemplars(with_examples if exemplars else [], bus=bus, series_max=series_max)
        try:
            self.registry.register(self)
        except ValueError as error:
            self._stop()
            raise MetricError(f"the registry refuses these metrics; close what has them, or rename: {error}") from error

    def describe(self) -> list[prometheus_client.Metric]:
        """The names, for the registry's own check of what else is in it."""
        return [prometheus_client.Metric(shown.name, shown.help, shown.type) for shown in self._shown]

    def collect(self) -> Iterator[prometheus_client.Metric]:
        """All series as they are now; metrics without one are left out. Called by the registry."""
        source = self._aggregate if self._shared is None else self._shared
        for shown, family in zip(self._shown, source.collect(), strict=True):
            self._exemplars.make_room(shown.metric, [series.tags for series in family.series])
            if family.series:
                yield from shown.families(family, self._exemplars)

    def text(self, *, openmetrics_format: bool = False) -> str:
        """What a scrape answers: Prometheus's text format, or OpenMetrics, which has the exemplars."""
        generate = openmetrics.generate_latest if openmetrics_format else prometheus_client.generate_latest
        return generate(self.registry).decode()

    def asgi(self) -> Callable[..., Any]:
        """An ASGI app that answers scrapes, in the format that the scraper asks for."""
        return prometheus_client.make_asgi_app(self.registry)

    def start_http_server(self, port: int, host: str = "127.0.0.1") -> tuple[Any, Any]:
        """Answer scrapes at `http://host:port/metrics`, in a daemon thread. The server, to shut down, and its thread.

        Raises `OSError` for an address in use.
        """
        return prometheus_client.start_http_server(port, host, self.registry)

    def push(self, gateway: str, job: str = "tinkertape", *, timeout_s: float = 10.0) -> None:
        """Replace what a push gateway has of this job. In the caller's thread. Raises `OSError`."""
        prometheus_client.push_to_gateway(gateway, job, self.registry, timeout=timeout_s)

    def skipped(self) -> Mapping[tuple[str, str], int]:
        """How many events a metric could not use, by (metric name, reason)."""
        return self._aggregate.skipped()

    def close(self) -> None:
        """Listen no longer, and leave the registry. Closing twice is closing once."""
        self._stop()
        if self._shown:
            self._shown = []
            self.registry.unregister(self)

    def _stop(self) -> None:
        self._aggregate.close()
        self._exemplars.close()
        if self._shared is not None:
            self._shared.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Registry(prometheus_client.CollectorRegistry):
    """One that a signal's handler can read while its thread does."""

    def __init__(self) -> None:
        super().__init__()
        self._lock: Any = threading.RLock()  # where prometheus_client (0.26) has one that its thread waits for, too


class _Shown:
    """One metric as Prometheus sees it."""

    def __init__(self, metric: Metric) -> None:
        self.type = _type_of(metric)
        self.metric = _with_labels(metric)
        name = _fit(metric.name.replace(".", "_"), f"metric {metric.name!r}")
        self.name = name.removesuffix("_total") or name  # a counter's samples get it, and nobody else's may have it
        self.help = metric.description or _described(metric)
        self._total = f"{self.name}_total"
        self._wanted = tuple(map(float, metric.reporter_options.get("quantiles", QUANTILES)))
        self._ends = [*(_number(bound) for bound in metric.buckets or ()), "+Inf"]
        self._labels: dict[Tags, dict[str, str]] = {}
        if not callable(metric.tags):
            _labels(tuple((tag, "") for tag in metric.tags), metric)

    @property
    def sample_names(self) -> set[str]:
        return {f"{self.name}{suffix}" for suffix in _SUFFIXES[self.type]}

    def families(self, family: Family, exemplars: Exemplars) -> list[prometheus_client.Metric]:
        """One of this type; or, where it has what OpenMetrics forbids the type, one without a type for each name."""
        shown = self._family(family, exemplars)
        if self.type not in ("histogram", "summary") or not any(map(_is_negative, shown.samples)):
            return [shown]
        untyped: dict[str, prometheus_client.Metric] = {}
        for sample in shown.samples:
            if sample.name not in untyped:
                untyped[sample.name] = prometheus_client.Metric(sample.name, self.help, "unknown")
            untyped[sample.name].samples.append(sample._replace(exemplar=None))
        return list(untyped.values())

    def _family(self, family: Family, exemplars: Exemplars) -> prometheus_client.Metric:
        shown = prometheus_client.Metric(self.name, self.help, self.type)
        by_type: dict[str, _Samples] = {"histogram": self._buckets, "summary": self._quantiles}
        samples = by_type.get(self.type, self._single)
        for series in family.series:
            seen = exemplars.of(self.metric, series.tags)
            shown.samples.extend(samples(series.value, self._labels_of(series.tags), seen))
        return shown

    def _labels_of(self, tags: Tags) -> dict[str, str]:
        known = self._labels.get(tags)
        if known is None:
            if len(self._labels) >= LABELS_KEPT:  # series come and go
                self._labels.clear()
            are_labels = callable(self.metric.tags) and tags != OVERFLOW
            known = self._labels[tags] = dict(tags) if are_labels else _labels(tags, self.metric)
        return known

    def _single(self, value: Any, labels: dict[str, str], seen: Mapping[int, Exemplar]) -> list[Sample]:
        if self.type == "counter":
            return [Sample(self._total, labels, value, None, _exemplar(seen.get(0)) if seen else None)]
        return [Sample(self.name, labels, value)]

    def _buckets(self, value: Histogram, labels: dict[str, str], seen: Mapping[int, Exemplar]) -> Iterator[Sample]:
        for place, (end, below) in enumerate(zip(self._ends, accumulate(value.counts), strict=True)):
            yield Sample(f"{self.name}_bucket", {**labels, "le": end}, below, None, _exemplar(seen.get(place)))
        yield Sample(f"{self.name}_sum", labels, value.sum)
        yield Sample(f"{self.name}_count", labels, sum(value.counts))

    def _quantiles(self, value: Quantiles, labels: dict[str, str], seen: Mapping[int, Exemplar]) -> Iterator[Sample]:
        for quantile in self._wanted:
            yield Sample(self.name, {**labels, "quantile": _number(quantile)}, value.quantile(quantile))
        yield Sample(f"{self.name}_sum", labels, value.sum)
        yield Sample(f"{self.name}_count", labels, value.count)


def _type_of(metric: Metric) -> str:
    if metric.kind != "sum":
        return _TYPES[metric.kind]
    return str(metric.reporter_options.get("prometheus_type", "counter"))


def _described(metric: Metric) -> str:
    """A help text for a metric without a description: a page without one is a lint error of `promtool`."""
    if metric.kind == "counter":
        return f"How often {metric.event_name} happened."
    what = metric.measurement if isinstance(metric.measurement, str) else metric.name.rpartition(".")[2]
    unit = "" if metric.unit == "unit" else f", in {metric.unit}s"
    return f"{metric.kind.replace('_', ' ').capitalize()} of {what} of {metric.event_name}{unit}."


def _fit(name: str, what: str) -> str:
    """A name of the legacy character set, `[a-zA-Z_][a-zA-Z0-9_]*`; a leading `__` is Prometheus's own."""
    fit = re.sub(r"^(_+|(?=[0-9]))", "_", _UNFIT.sub("_", name))
    if not fit.strip("_"):
        raise MetricError(f"{what} has no letter or digit that Prometheus takes; choose another name")
    return fit.removeprefix("_") if fit[1:2].isalpha() else fit


def _with_labels(metric: Metric) -> Metric:
    """With a function of tags that makes labels at once, so that tags that become alike are one series of the page."""
    tags = metric.tags
    if not callable(tags):
        return metric
    return replace(metric, tags=lambda metadata: _labels(_sorted(tags(metadata)), metric))


def _sorted(tags: Mapping[str, Any]) -> Tags:
    return tuple(sorted(((str(tag), value) for tag, value in tags.items()), key=itemgetter(0)))


@lru_cache(LABELS_KEPT)
def _label(tag: str) -> str:
    return _fit(tag, f"tag {tag!r}") if _UNFIT.sub("", tag).strip("_") else "_tag"


def _labels(tags: Tags, metric: Metric) -> dict[str, str]:
    """Tags as labels. Names of a list that become alike are refused; those of a function get `_` until they differ."""
    labels: dict[str, str] = {}
    for tag, value in tags:
        label = _label(tag)
        if label in labels and not callable(metric.tags):
            raise MetricError(f"two tags of {metric.name!r} become the label {label!r}; rename one, with tag_values")
        while label in labels or label in _OWN_LABELS:
            label += "_"
        labels[label] = value
    return labels


def _refuse_alike(shown: Sequence[_Shown]) -> None:
    taken: dict[str, _Shown] = {}
    for each in shown:
        for name in each.sample_names:
            other = taken.setdefault(name, each)
            if other is not each:
                raise MetricError(
                    f"{each.metric.name!r} and {other.metric.name!r} are both {name!r} to Prometheus; rename one"
                )


def _is_negative(sample: Sample) -> bool:
    return sample.value < 0 or sample.labels.get("le", "").startswith("-")


def _exemplar(found: Exemplar | None) -> Any:
    if found is None:
        return None
    labels = {"trace_id": found.trace_id, "span_id": found.span_id}
    return prometheus_client.samples.Exemplar(labels, found.value, found.time_ns / 1e9)


def _number(bound: int | float) -> str:
    return str(prometheus_client.utils.floatToGoString(bound))  # type: ignore[no-untyped-call]
