"""One event taken up by a metric with two tags, through the bus, beside `prometheus_client` and OpenTelemetry.

Ours is exact under threads, as the peers are (a shard a thread; they lock). Wanted: at most 1/4 of
`prometheus_client`'s `labels().observe`, 1/12 of OpenTelemetry's `record`; 10 000 series collected in less than 100 ms.
The sketch of a summary runs beside that of the `ddsketch` library.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import prometheus_client
from ddsketch import DDSketch
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from compare import compare
from tinkertape.bus import Bus
from tinkertape.metrics import Aggregate, Metric, PrometheusReporter, counter, distribution, last_value, sum_, summary
from tinkertape.metrics.cells import new_cell, update_lines, update_names

EVENT = "tinker.http.request.stop"
METADATA = {"method": "POST", "path": "/api/v1/asample", "status": "success", "pool": "sample"}
TAGS = ["method", "path"]
BUCKETS = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000]
BY_NAME, IN_ORDER, OPENTELEMETRY = "prometheus_client, labels by name", "labels in order", "OpenTelemetry"
WANTED = {BY_NAME: 4.0, OPENTELEMETRY: 12.0}
COLLECTED_MAX_S = 0.1
DURATION = {"unit": ("nanosecond", "millisecond"), "tags": TAGS}
OURS = "execute(event, {'duration': 47_123_456}, metadata)"
LABELS = {BY_NAME: "method=metadata['method'], path=metadata['path']", IN_ORDER: "metadata['method'], metadata['path']"}
ATTRIBUTES = "{'method': metadata['method'], 'path': metadata['path']}"


def names_of(*metrics: Metric) -> dict[str, Any]:
    bus = Bus()
    Aggregate(metrics, bus=bus)
    return {"execute": bus.execute, "event": EVENT, "metadata": METADATA}


def peers() -> dict[str, Any]:
    registry = prometheus_client.CollectorRegistry()
    meter = MeterProvider(metric_readers=[InMemoryMetricReader()]).get_meter("bench")
    return {
        "counter": prometheus_client.Counter("a", "a", TAGS, registry=registry),
        "histogram": prometheus_client.Histogram("b", "b", TAGS, registry=registry, buckets=BUCKETS),
        "add": meter.create_counter("a").add,
        "record": meter.create_histogram("b", explicit_bucket_boundaries_advisory=BUCKETS).record,
    }


def bench_distribution() -> dict[str, float]:
    calls = {peer: f"histogram.labels({labels}).observe(47_123_456 / 1e6)" for peer, labels in LABELS.items()}
    calls[OPENTELEMETRY] = f"record(47_123_456 / 1e6, {ATTRIBUTES})"
    names = names_of(distribution(f"{EVENT}.duration", buckets=BUCKETS, **DURATION)) | peers()
    return compare("a distribution of 12 buckets", OURS, calls, number=200, rounds=300, names=names)


def bench_counter() -> dict[str, float]:
    calls = {peer: f"counter.labels({labels}).inc()" for peer, labels in LABELS.items()}
    calls[OPENTELEMETRY] = f"add(1, {ATTRIBUTES})"
    names = names_of(counter(f"{EVENT}.count", tags=TAGS)) | peers()
    return compare("a counter", OURS, calls, number=200, rounds=300, names=names)


def bench_kinds() -> None:
    """What each kind costs, and three of them on one event; no peer has this."""
    kinds = {
        "sum": names_of(sum_(f"{EVENT}.duration", **DURATION)),
        "last value": names_of(last_value(f"{EVENT}.duration", **DURATION)),
        "summary": names_of(summary(f"{EVENT}.duration", **DURATION)),
        "counter, distribution and summary": names_of(
            counter(f"{EVENT}.count", tags=TAGS),
            distribution(f"{EVENT}.duration", buckets=BUCKETS, **DURATION),
            summary(f"{EVENT}.duration", **DURATION),
        ),
    }
    for kind, names in kinds.items():
        nobody = "execute('a.b', {'duration': 47_123_456}, metadata)"
        compare(f"a {kind}", OURS, {"an event that nobody hears": nobody}, number=200, rounds=300, names=names)


def bench_sketch() -> None:
    """One value into a sketch at hand: the lines that a summary's handler has, and `DDSketch.add`."""
    metric = summary(f"{EVENT}.duration")
    lines = ["def add(value):", " kind = type(value)", *(f" {line}" for line in update_lines(metric, 0))]
    names: dict[str, Any] = {**update_names(metric, 0), "metric_0": metric, "cell": new_cell(metric)}
    exec("\n".join(lines), names)
    for latencies in ([random.lognormvariate(3, 1) for _ in range(1_000)], range(10**6, 10**9, 10**6)):
        compare(
            f"{len(latencies)} latencies, of type {type(latencies[0]).__name__}, into a sketch",
            "for each in latencies: add(each)",
            {"ddsketch": "for each in latencies: theirs(each)"},
            number=1,
            rounds=100,
            names={"latencies": latencies, "add": names["add"], "theirs": DDSketch(0.01).add},
        )


def collected_in_s(make: Callable[[], Metric]) -> float:
    """The processor time that it takes to collect 10 000 series; the median of 7."""
    bus = Bus()
    with Aggregate([make()], bus=bus, series_max=10_000) as aggregate:
        for number in range(10_000):
            bus.execute(EVENT, {"duration": number}, {"method": "GET", "path": f"/{number}"})
        times = []
        for _ in range(7):
            began_s = time.thread_time()
            [family] = aggregate.collect()
            times.append(time.thread_time() - began_s)
            assert len(family.series) == 10_000
    return statistics.median(times)


def bench_collect() -> float:
    counters_s = collected_in_s(lambda: counter(f"{EVENT}.count", tags=TAGS))
    distributions_s = collected_in_s(lambda: distribution(f"{EVENT}.duration", buckets=BUCKETS, **DURATION))
    print(
        f"\n10 000 series collected: counters {counters_s * 1e3:.0f} ms, distributions {distributions_s * 1e3:.0f} ms"
    )
    return max(counters_s, distributions_s)


def bench_scrape() -> None:
    """The processor time of a scrape of 10 000 counters, beside one of `prometheus_client`'s own; medians of 7."""
    own = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Counter("own", "Its own.", TAGS, registry=own)
    bus = Bus()
    with PrometheusReporter([counter(f"{EVENT}.count", tags=TAGS)], bus=bus, series_max=10_000) as reporter:
        for number in range(10_000):
            bus.execute(EVENT, {}, {"method": "GET", "path": f"/{number}"})
            theirs.labels("GET", f"/{number}").inc()
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(7):
            for whose, registry in (("ours", reporter.registry), ("theirs", own)):
                began_s = time.thread_time()
                page = prometheus_client.generate_latest(registry)
                times[whose].append(time.thread_time() - began_s)
                assert page.count(b"/9999") >= 1
    ours_s, theirs_s = statistics.median(times["ours"]), statistics.median(times["theirs"])
    print(f"10 000 counters scraped: {ours_s * 1e3:.0f} ms, prometheus_client's own {theirs_s * 1e3:.0f} ms")


if __name__ == "__main__":
    print(f"CPython {sys.version.split()[0]}")
    ratios = [bench_distribution(), bench_counter()]
    bench_kinds()
    bench_sketch()
    slowest_s = bench_collect()
    bench_scrape()
    missed = [peer for peer, wanted in WANTED.items() if ratios[0][peer] < wanted]
    print(f"\ndistribution: wanted {WANTED}, missed {missed or 'none'}; collect: wanted {COLLECTED_MAX_S * 1e3:.0f} ms")
    sys.exit(bool(missed) or slowest_s > COLLECTED_MAX_S)
