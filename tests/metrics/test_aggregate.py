"""An aggregate keeps the state of every series, exactly, and says what it could not use."""

from __future__ import annotations

import pytest

from tinkertape.bus import Bus
from tinkertape.metrics import Aggregate, Histogram, counter, distribution, last_value, sum_, summary


@pytest.fixture
def bus():
    return Bus()


def values_of(aggregate):
    return [{series.tags: series.value for series in family.series} for family in aggregate.collect()]


def test_every_kind_reports_what_it_is_for(bus):
    metrics = [
        counter("a.b.count"),
        sum_("a.b.size"),
        last_value("a.b.size"),
        distribution("a.b.size", buckets=[1, 2, 4]),
        summary("a.b.size"),
    ]
    with Aggregate(metrics, bus=bus) as aggregate:
        for size in (3, 1, 2, 9):
            bus.execute("a.b", {"size": size})

    count, total, last, histogram, quantiles = (values[()] for values in values_of(aggregate))
    assert (count, total, last) == (4, 15, 9)
    assert histogram == Histogram(bounds=(1, 2, 4), counts=(1, 1, 1, 1), sum=15, count=4, min=1, max=9)
    assert quantiles.quantile(1 / 3) == pytest.approx(2, rel=quantiles.relative_error)
