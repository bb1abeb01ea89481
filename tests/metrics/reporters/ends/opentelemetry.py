"""OpenTelemetry's: a reader of its SDK, and for the other way a server that takes OTLP over HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tests import loopback
from tests.metrics.reporters.ends import Arrived, Key

from tinkertape.bus import Bus
from tinkertape.metrics import Metric
from tinkertape.metrics.reporters.opentelemetry import OpenTelemetryReporter


class End:
    """Into a `MeterProvider`."""

    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        self.reporter = OpenTelemetryReporter(metrics, bus=bus, meter_provider=self._provider)

    def read(self) -> dict[Key, Arrived]:
        data: Any = self._reader.get_metrics_data()
        found: dict[Key, Arrived] = {}
        for resource in data.resource_metrics if data is not None else ():
            for metric in resource.scope_metrics[0].metrics:
                for point in metric.data.data_points:
                    key = metric.name, frozenset(point.attributes.items())
                    if hasattr(point, "bucket_counts"):
                        found[key] = Arrived(count=point.count, sum=point.sum)
                    else:
                        found[key] = Arrived(count=int(point.value), sum=point.value, last=point.value)
        return found

    def close(self) -> None:
        self.reporter.close()
        self._provider.shutdown()


class OtlpServer:
    """Takes exports as a collector does: `received`, in the order in which they came."""

    def __init__(self) -> None:
        self.received: list[ExportMetricsServiceRequest] = []
        self.status = 200
        received, server = self.received, self

        class Handler(loopback.Handler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if server.status == 200:
                    received.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(server.status)
                self.end_headers()

        self._server = loopback.Server(Handler)
        self.endpoint = f"{self._server.url}/v1/metrics"

    def close(self) -> None:
        self._server.close()


class Otlp:
    """Straight to an endpoint."""

    def __init__(self, metrics: Sequence[Metric], bus: Bus) -> None:
        self.server = OtlpServer()
        self.reporter = OpenTelemetryReporter(metrics, bus=bus, endpoint=self.server.endpoint, period_s=3600)

    def read(self) -> dict[Key, Arrived]:
        assert self.reporter.flush()
        found: dict[Key, Arrived] = {}
        for metric in self.server.received[-1].resource_metrics[0].scope_metrics[0].metrics:
            points: Any = getattr(metric, metric.WhichOneof("data")).data_points
            for point in points:
                key = metric.name, frozenset((each.key, each.value.string_value) for each in point.attributes)
                if hasattr(point, "bucket_counts"):
                    found[key] = Arrived(count=point.count, sum=point.sum)
                else:
                    value = getattr(point, point.WhichOneof("value"))
                    found[key] = Arrived(count=int(value), sum=value, last=value)
        return found

    def close(self) -> None:
        self.reporter.close()
        self.server.close()


ENDS = [End, Otlp]
