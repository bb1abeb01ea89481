"""Arize Phoenix as a peer of the collector: its server in a process of its own, and the same events as OTLP spans.

The bodies are made here, in the few fields of protobuf that a span needs, so that the generator is one for both.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

STARTS_S = 180
ENDS_S = 20
BUSY_S = 0.05  # after an answer of 429 or 503 the same body is sent again so late
_BYTES, _FIXED64 = 2, 1  # wire types of protobuf


class PhoenixMissing(Exception):
    """There is nothing to measure, and why."""


class Phoenix:
    """A server of `arize-phoenix`, from the packages of the interpreter `python`, with a folder of its own.

    Raises `PhoenixMissing`.
    """

    path, content_type = "/v1/traces", "application/x-protobuf"

    def __init__(self, python: str) -> None:
        asked = [python, "-c", "import importlib.metadata as m; print(m.version('arize-phoenix'))"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode:
            raise PhoenixMissing(f"{python} has no arize-phoenix: {python} -m pip install arize-phoenix")
        self.version = found.stdout.strip()
        self._folder = tempfile.TemporaryDirectory(prefix="tinkertape-bench-phoenix-")
        port, grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        where = {"PHOENIX_WORKING_DIR": self._folder.name, "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port)}
        where |= {"PHOENIX_GRPC_PORT": str(grpc_port), "PHOENIX_TELEMETRY_ENABLED": "false"}
        where |= {"PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false"}
        self._log = Path(self._folder.name) / "server.log"
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [python, "-m", "phoenix.server.main", "serve"], env={**os.environ, **where}, stdout=log, stderr=log
            )
        self._wait()

    @property
    def pid(self) -> int:
        return self._server.pid

    def stored(self) -> int:
        """How many spans are in its database."""
        database = sqlite3.connect(f"file:{Path(self._folder.name) / 'phoenix.db'}?mode=ro", uri=True)
        try:
            count: int = database.execute("SELECT count(*) FROM spans").fetchone()[0]
            return count
        finally:
            database.close()

    def _wait(self) -> None:
        deadline_s = time.monotonic() + STARTS_S
        while time.monotonic() < deadline_s and self._server.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/healthz", timeout=5).read()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        log = self._log.read_text(errors="replace")[-2000:]
        self.__exit__(None, None, None)
        raise PhoenixMissing(f"Phoenix did not start: {log}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.terminate()
        try:
            self._server.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(ENDS_S)
        self._folder.cleanup()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def spans_of(events: list[dict[str, Any]], number: int) -> bytes:
    """An OTLP body: each event of the SDK as a span of one trace, what it says as attributes."""
    trace_id = b"%016d" % number
    spans = [_span(event, trace_id, b"%06d%02d" % (number, index)) for index, event in enumerate(events)]
    return _field(1, _field(2, b"".join(_field(2, span) for span in spans)))


def _span(event: dict[str, Any], trace_id: bytes, span_id: bytes) -> bytes:
    ended_ns = time.time_ns()
    said = {**event, **(event.get("event_data") or {})}
    attributes = [(key, value) for key, value in said.items() if key != "event_data"]
    return b"".join(
        [
            _field(1, trace_id),
            _field(2, span_id),
            _field(5, str(event.get("event_name") or event["event"]).encode()),
            _stamp(7, ended_ns - 1_000_000),
            _stamp(8, ended_ns),
            *(_field(9, _field(1, key.encode()) + _field(2, _field(1, _text(value)))) for key, value in attributes),
        ]
    )


def _text(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _stamp(number: int, time_ns: int) -> bytes:
    return _varint(number << 3 | _FIXED64) + time_ns.to_bytes(8, "little")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Sent(NamedTuple):
    """How long it took until every body was acknowledged, and how often one was refused for the time being."""

    seconds: float
    refused: int


async def post_all(url: str, path: str, content_type: str, bodies: list[bytes], connections: int) -> Sent:
    """Send bodies over so many connections, each when the one before was answered."""
    host, port = url.removeprefix("http://").split(":")
    waiting, refused = iter(bodies), 0
    about = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {content_type}\r\nContent-Length: "

    async def one_connection(waiting: Iterator[bytes]) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection(host, int(port))
        for body in waiting:
            writer.write(b"%s%d\r\n\r\n%s" % (about.encode(), len(body), body))
            while (status := await _answer(reader)) in (429, 503):
                refused += 1
                await asyncio.sleep(BUSY_S)
                writer.write(b"%s%d\r\n\r\n%s" % (about.encode(), len(body), body))
            if status != 200:
                raise RuntimeError(f"{url}{path} answered {status}")
        writer.close()

    began_s = time.perf_counter()
    await asyncio.gather(*(one_connection(waiting) for _ in range(connections)))
    return Sent(time.perf_counter() - began_s, refused)


async def _answer(reader: asyncio.StreamReader) -> int:
    """The status of an answer, which is read whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return int(head.split(b" ", 2)[1])
