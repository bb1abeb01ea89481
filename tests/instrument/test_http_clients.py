"""`instrument.httpx` and `instrument.requests`: every exchange of an HTTP client, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import tinker
from tests import loopback
from tests.instrument.watching import MODEL, Events, StartService, installed, service_client

from tinkertape import instrument
from tinkertape.guard import failures
from tinkertape.instrument import exchanges

BODY = b"0123456789"
STOP, FAILED = "http.request.stop", "http.request.exception"


class Answers(loopback.Handler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/v1/old"):
            self._answer(302, b"", Location="/v1/things/42?token=sesame#here")
        elif self.path.startswith("/v1/busy"):
            self._answer(503, b"busy")
        elif self.path.startswith("/v1/half"):
            self._answer(200, BODY, **{"Content-Length": "1000", "Connection": "close"})
            self.close_connection = True
        else:
            self._answer(200, BODY)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(204, b"")

    def do_HEAD(self) -> None:
        self._answer(200, b"", **{"Content-Length": "10"})

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with loopback.Server(Answers) as service:
        yield service.url.replace("//", "//someone:sesame@")


Get = Callable[..., Any]


def with_httpx(method: str, url: str, **more: Any) -> None:
    with httpx.Client(follow_redirects=True) as client:
        client.request(method, url, **more)


def with_async_httpx(method: str, url: str, **more: Any) -> None:
    async def send() -> None:
        async with httpx.AsyncClient(follow_redirects=True) as client:
            await client.request(method, url, **more)

    asyncio.run(send())


def with_requests(method: str, url: str, **more: Any) -> None:
    with requests.Session() as session:
        session.request(method, url, **more)


CLIENTS = {"httpx": with_httpx, "httpx, async": with_async_httpx, "requests": with_requests}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> tuple[str, Get]:
    return request.param.partition(",")[0], CLIENTS[request.param]


@pytest.fixture
def events() -> Iterator[Events]:
    with installed(instrument.httpx) as heard:
        instrument.requests.install()
        yield heard
        instrument.requests.uninstall()
    assert failures() == {}


def test_an_exchange_is_told_with_its_route_its_times_and_its_sizes(
    client: tuple[str, Get], server: str, events: Events
) -> None:
    name, request = client

    request("GET", f"{server}/v1/things/42/parts/a-part?token=sesame#there")

    told = events.one(STOP)
    assert told.metadata == {
        "client": name,
        "method": "GET",
        "host": "127.0.0.1",
        "path": "/v1/things/{id}/parts/a-part",
        "status": "success",
        "status_code": 200,
    }
    assert told.measurements["request_bytes"] == 0 and told.measurements["response_bytes"] == len(BODY)
    assert 0 < told.measurements["headers_duration"] <= told.measurements["duration"]
    assert len(events.named("http.request.start")) == 1 and "sesame" not in str(events)


def test_each_hop_of_a_redirect_is_an_exchange(client: tuple[str, Get], server: str, events: Events) -> None:
    client[1]("GET", f"{server}/v1/old")

    assert [(e.metadata["path"], e.metadata["status_code"]) for e in events.named(STOP)] == [
        ("/v1/old", 302),
        ("/v1/things/{id}", 200),
    ]
    assert "sesame" not in str(events)


def test_each_attempt_is_an_exchange_and_what_the_service_refuses_is_an_error(
    client: tuple[str, Get], server: str, events: Events
) -> None:
    for _ in range(3):
        client[1]("GET", f"{server}/v1/busy")

    assert [e.metadata["status"] for e in events.named(STOP, status_code=503)] == ["error"] * 3


def test_answers_without_a_body_end_too(client: tuple[str, Get], server: str, events: Events) -> None:
    client[1]("POST", f"{server}/v1/things", data={"a": "bc"})
    client[1]("HEAD", f"{server}/v1/things")

    post, head = events.named(STOP)
    assert post.measurements["request_bytes"] == 4
    assert (post.measurements["response_bytes"], head.measurements["response_bytes"]) == (0, 0)


def test_what_the_network_does_is_told_and_raised(client: tuple[str, Get], server: str, events: Events) -> None:
    with pytest.raises((httpx.ConnectError, requests.ConnectionError)) as raised:
        client[1]("GET", "http://127.0.0.1:1/v1/away?to=sesame")
    assert "/tinkertape/instrument/" not in "".join(traceback.format_exception(raised.value))
    try:
        raise OSError("handled already, and none of the exchange's")
    except OSError:
        client[1]("GET", f"{server}/v1/things/1")
    with contextlib.suppress(httpx.RemoteProtocolError, requests.exceptions.ChunkedEncodingError):
        client[1]("GET", f"{server}/v1/half")
        pytest.fail("half an answer is no answer")

    away, half = events.named(FAILED)
    assert (away.metadata["path"], away.metadata["status"]) == ("/v1/away", "error")
    assert "sesame" not in str(away)  # requests quotes the query
    assert half.metadata["path"] == "/v1/half" and half.measurements["headers_duration"] > 0
    assert events.one(STOP).metadata["path"] == "/v1/things/{id}"


def test_a_stream_ends_when_it_is_read_or_let_go(server: str, events: Events) -> None:
    with httpx.stream("GET", f"{server}/v1/a") as response:
        assert events.named(STOP) == []
        response.read()
    with contextlib.suppress(LookupError), httpx.stream("GET", f"{server}/v1/b"):
        raise LookupError("the program's own")
    with requests.get(f"{server}/v1/c", stream=True) as answer:
        assert len(events.named(STOP)) == 2
        list(answer.iter_content(3))
    requests.get(f"{server}/v1/d", stream=True).close()

    told = [(e.metadata["path"], e.measurements["response_bytes"]) for e in events.named(STOP)]
    assert told == [("/v1/a", 10), ("/v1/b", 0), ("/v1/c", 10), ("/v1/d", 0)]


def test_uninstalled_the_very_same_functions_are_back(server: str) -> None:
    before = (
        httpx.Client._send_single_request,
        httpx.AsyncClient._send_single_request,
        requests.adapters.HTTPAdapter.send,
    )

    for _ in range(2):
        instrument.httpx.install()
        instrument.requests.install()
    assert httpx.Client._send_single_request is not before[0]
    instrument.httpx.uninstall()
    instrument.requests.uninstall()

    assert before == (
        httpx.Client._send_single_request,
        httpx.AsyncClient._send_single_request,
        requests.adapters.HTTPAdapter.send,
    )


def test_threads_of_ours_are_not_told(client: tuple[str, Get], server: str, events: Events) -> None:
    ours = threading.Thread(target=client[1], args=("GET", f"{server}/v1/a"), name="tinkertape-delivery")
    ours.start()
    ours.join()

    assert events == []


def test_what_the_source_of_the_sdk_tells_is_not_told_twice(start_service: StartService, events: Events) -> None:
    instrument.tinker.install()
    service = service_client(start_service())
    service.get_server_capabilities()
    service.create_sampling_client(base_model=MODEL).result()
    service.close("success").result(10)
    instrument.tinker.uninstall()

    tinkers = events.named("tinker.http.request.stop")
    assert len(tinkers) > 2
    assert not {e.metadata["path"] for e in events.named(STOP)} & {e.metadata["path"] for e in tinkers}


@pytest.mark.filterwarnings("ignore:DEPRECATED:FutureWarning")
def test_a_request_of_the_sdk_that_the_program_sends_again_is_told(start_service: StartService, events: Events) -> None:
    instrument.tinker.install()
    service = service_client(start_service())
    with pytest.raises(tinker.NotFoundError) as failed:
        service.create_rest_client().get_training_run("nothing:train:0").result()
    service.close("success").result(10)
    assert "tinkertape" not in failed.value.request.extensions
    events.clear()

    with httpx.Client() as client:
        client.send(failed.value.request)
    instrument.tinker.uninstall()

    assert events.one(STOP).metadata["path"] == "/api/v1/training_runs/{id}"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("", ""),
        ("/v1/models/org/name-7b/files", "/v1/models/org/{id}/files"),
        ("/v1beta2/runs/01J9ZQ", "/v1beta2/runs/{id}"),
        ("/files/someone@example.org/x", "/files/{id}/x"),
        ("/a%20b/" + "x" * 41, "/{id}/{id}"),
    ],
)
def test_a_route_has_no_ids(path: str, route: str) -> None:
    assert exchanges.route_of(path) == route
