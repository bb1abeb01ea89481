"""Prometheus's: a real scrape over HTTP, read by `prometheus_client`'s own parser."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families
from tests.metrics.reporters.ends import Arrived, Key

from tinkertape.bus import Bus
from tinkertape.metrics import Metric
from tinkertape.metrics.reporters.prometheus import PrometheusReporter

OURS = ("le", "quantile")


class End:
    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None:
        self._names = {metric.name.replace(".", "_"): metric.name for metric in metrics}
        self._names |= {name.removesuffix("_total"): of for name, of in self._names.items()}
        self.reporter = PrometheusReporter(metrics, bus=bus)
        self._server, self._thread = self.reporter.start_http_server(0)

    def read(self) -> dict[Key, Arrived]:
        address = f"http://127.0.0.1:{self._server.server_port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
        found: dict[Key, Arrived] = {}
        for family in text_string_to_metric_families(text):
            name = self._names[family.name]
            for sample in family.samples:
                labels = frozenset((key, value) for key, value in sample.labels.items() if key not in OURS)
                known = found.get((name, labels), Arrived())
                match sample.name.removeprefix(family.name):
                    case "_total":
                        known = known._replace(count=int(sample.value), sum=sample.value)
                    case "_count":
                        known = known._replace(count=int(sample.value))
                    case "_sum":
                        known = known._replace(sum=sample.value)
                    case "" if family.type == "gauge":
                        known = known._replace(last=sample.value)
                found[name, labels] = known
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
        self.reporter.close()
