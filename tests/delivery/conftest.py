"""A collector's door on a real socket: it answers what the test tells it to, and keeps every body."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import loopback

from tinkertape.config import new_ulid
from tinkertape.tape import Recorder


class Door:
    """`answers(body) -> (status, headers)` decides, `said` is the text of a refusal; `bodies` and `headers` are what
    was accepted and how, `requests` counts all that was posted, `connections` on how many connections.
    """

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.takes_gzip = False
        self.said = "no"
        self.connections: set[Any] = set()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: Callable[[dict[str, Any]], tuple[int, dict[str, str]]] = lambda body: (200, {})
        self.requests = 0
        door = self

        class Handler(loopback.Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                told = {"Tinkertape-Collector": "1"} if door.ours else {}
                self.answer(200, {**told, "Accept-Encoding": "gzip"} if door.takes_gzip else told)

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                packed = self.headers.get("Content-Encoding") == "gzip"
                body = json.loads(gzip.decompress(raw) if packed else raw)
                answers = door.answers  # those of now: a test that sees the request come may set others
                door.requests += 1
                door.connections.add(self.client_address)
                status, headers = answers(body)
                if status == 200:
                    door.bodies.append(body)
                    door.headers.append(dict(self.headers))
                self.answer(status, headers)

            def answer(self, status: int, headers: dict[str, str]) -> None:
                text = b'{"status":"accepted"}' if status == 200 else door.said.encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

        self.server = loopback.Server(Handler)
        self.url = self.server.url

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies for event in body["events"]]

    @property
    def names(self) -> list[str]:
        return [event.get("event_name", event["event"]) for event in self.events]

    def close(self) -> None:
        self.server.close()


@pytest.fixture
def ours() -> Iterator[Door]:
    door = Door(ours=True)
    yield door
    door.close()


@pytest.fixture
def foreign() -> Iterator[Door]:
    door = Door(ours=False)
    yield door
    door.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    run = new_ulid()
    recorder = Recorder(tmp_path / "tapes" / run, run, header={"name": "x", "sdk_version": "0.38.0"})
    yield recorder
    recorder.close()
