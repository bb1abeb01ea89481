"""One address for an SDK: its telemetry goes to a collector, everything else to a service."""

from __future__ import annotations

import gzip
import http.client
import json
from typing import Any

from tests import loopback

TELEMETRY = "/api/v1/telemetry"
HOP = frozenset({"connection", "host", "keep-alive", "te", "transfer-encoding", "upgrade", "content-length"})


class Proxy:
    """A reverse proxy on loopback. `bodies` are the telemetry that went through, `answers` what the collector said."""

    def __init__(self, service: str, collector: str) -> None:
        self.bodies: list[bytes] = []
        self.answers: list[tuple[int, bytes]] = []
        proxy = self

        class Handler(loopback.Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.forward()

            def do_POST(self) -> None:
                self.forward()

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                is_telemetry = self.path.startswith(TELEMETRY)
                address = (collector if is_telemetry else service).removeprefix("http://")
                headers = {name: text for name, text in self.headers.items() if name.lower() not in HOP}
                upstream = http.client.HTTPConnection(address, timeout=60)
                try:
                    upstream.request(self.command, self.path, body, headers)
                    answer = upstream.getresponse()
                    said = answer.read()
                finally:
                    upstream.close()
                if is_telemetry:
                    proxy.keep(body, self.headers.get("Content-Encoding", ""), answer.status, said)
                self.send_response(answer.status)
                for name, text in answer.getheaders():
                    if name.lower() not in HOP | {"date", "server"}:
                        self.send_header(name, text)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        self._server = loopback.Server(Handler)
        self.url = self._server.url

    def keep(self, body: bytes, encoding: str, status: int, said: bytes) -> None:
        self.bodies.append(gzip.decompress(body) if encoding == "gzip" else body)
        self.answers.append((status, said))

    @property
    def sent(self) -> dict[str, dict[str, Any]]:
        """Every event that the SDK sent, by its id."""
        return {event["event_id"]: event for body in self.bodies for event in json.loads(body)["events"]}

    @property
    def sessions(self) -> set[str]:
        return {json.loads(body)["session_id"] for body in self.bodies}

    def close(self) -> None:
        self._server.close()
