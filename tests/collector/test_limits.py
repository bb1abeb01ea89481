"""What the collector does not take, and that it goes on."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import zlib
from collections.abc import Iterator

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive
from tests.collector.conftest import ACCEPTED, Served, wire_body, wire_event

from tinkertape.collector import ingest, limits
from tinkertape.collector.counters import Counters
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.intake import take_in
from tinkertape.collector.limits import Flight, Refused, gunzip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whose senders have a second, not ten."""
    collector = Served(tmp_path_factory.mktemp("limits"), body_time_s=1.0).start()
    yield collector
    collector.stop()


@pytest.fixture(autouse=True)
def unharmed(served: Served, session):
    """Whatever a test did, the next body is accepted."""
    yield
    assert served.post(wire_body(session, [wire_event(0)])) == ACCEPTED


def raw_exchange(served: Served, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            if b"\r\n\r\n" in answer and b"connection: close" not in answer.lower():
                break
        return answer


def test_a_body_too_large_is_refused(served: Served):
    status, line = served.post(b'{"events":[],"x":"' + b"a" * 4_000_000 + b'"}')

    assert (status, line) == (413, b"the body is larger than 4 MB; send fewer events at once\n")


def test_a_body_too_large_in_pieces_is_refused(served: Served):
    piece = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    request = (
        b"POST /api/v1/telemetry HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nTransfer-Encoding: chunked\r\n\r\n" % served.port
    )

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(request)
        with contextlib.suppress(ConnectionError):  # it may hang up before all of it is sent
            for _ in range(100):
                connection.sendall(piece)
            connection.sendall(b"0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "headers", [b"Content-Length: 99000000000", b"Content-Length: 4000001\r\nExpect: 100-continue"]
)
def test_a_body_that_is_announced_too_large_is_not_waited_for(served: Served, headers):
    head = b"POST /api/v1/telemetry HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n\r\n" % (served.port, headers)

    assert raw_exchange(served, head).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_ends_too_early_harms_nobody(served: Served, session):
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(
            b'POST /api/v1/telemetry HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 500\r\n\r\n{"ev' % served.port
        )

    assert served.post(wire_body(session, [wire_event(0)])) == ACCEPTED
    assert served.settled(session, 1)["recorded"] == 1


def test_a_slow_body_is_refused(served: Served):
    head = b"POST /api/v1/telemetry HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 500\r\n\r\n{" % served.port

    answer = raw_exchange(served, head)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 1 s" in answer


def test_a_gzip_bomb_is_refused(served: Served):
    bomb = gzip.compress(b"[" * 300_000_000, compresslevel=1)

    assert len(bomb) < 4_000_000
    assert served.post(bomb, Content_Encoding="gzip")[0] == 413


def test_a_bomb_of_many_members_is_refused():
    with pytest.raises(Refused, match="larger than 4 MB"):
        gunzip(gzip.compress(b"a" * 1_000_000) * 5)


PACKED = gzip.compress(b"{}", mtime=0)  # the ids of tests must not tell the time


@pytest.mark.parametrize(
    "body", [b"nonsense", PACKED[:-4], PACKED + b"rest", PACKED[:2]], ids=["nonsense", "cut", "more", "two bytes"]
)
def test_what_is_no_gzip_is_one_line(served: Served, body):
    status, line = served.post(body, Content_Encoding="gzip")

    assert (status, line.count(b"\n")) == (400, 1)


def test_gzip_of_two_members_is_one_body():
    assert gunzip(gzip.compress(b"{}") + gzip.compress(b" ")) == b"{} "


@pytest.mark.parametrize("encoding", ["zstd", "br", "deflate", "gzip, gzip", "x" * 1000])
def test_another_packing_is_not_known(served: Served, encoding):
    status, line = served.post(zlib.compress(b"{}"), Content_Encoding=encoding)

    assert (status, line) == (415, b"the Content-Encoding is not known here; send gzip, or none\n")


FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "evil.example:{port}"},
    {"Host": "localhost.evil.example:{port}"},
    {"Host": "127.0.0.1:1"},
    {"Host": "127.0.0.1"},
    {"Host": ""},
    {"Host": "192.168.0.7:{port}"},
    {"Origin": "http://evil.example"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=json.dumps)
@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/runs", "/api/v1/stream", "/metrics", "/nowhere"])
def test_a_foreign_page_is_refused_everywhere(served: Served, headers, path):
    filled = {name: text.format(port=served.port) for name, text in headers.items()}

    status, line = served.get(path, **filled)

    assert status == 403
    assert line.startswith(b"refused: ") and line.count(b"\n") == 1


@pytest.mark.parametrize("headers", FOREIGN, ids=json.dumps)
def test_a_foreign_page_can_send_nothing(served: Served, session, headers):
    filled = {name: text.format(port=served.port) for name, text in headers.items()}

    assert served.post(wire_body(session, [wire_event(0)]), **filled)[0] == 403
    assert served.events(session) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_this_machine_may_ask(served: Served, host):
    headers = {"Host": f"{host}:{served.port}", "Origin": f"http://{host}:{served.port}"}

    assert served.get("/healthz", **headers)[0] == 200


def test_two_hosts_are_refused(served: Served):
    request = b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"

    answer = raw_exchange(served, request % served.port)

    assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 "))


def test_each_of_two_origins_must_be_ours(served: Served):
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % served.port
    ours, foreign = b"Origin: http://127.0.0.1:%d\r\n" % served.port, b"Origin: http://evil.example\r\n"

    for origins in (ours + foreign, foreign + ours):
        assert raw_exchange(served, head + origins + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_ones_own_page_and_the_address_bar_may_ask(served: Served, site):
    assert served.get("/healthz", **{"Sec-Fetch-Site": site})[0] == 200


@pytest.mark.parametrize(
    ("server", "address"), [(("127.0.0.2", 8288), "http://127.0.0.2:8288"), (("::1", 8288), "http://[::1]:8288")]
)
def test_a_refusal_names_the_address_that_was_asked(server, address):
    line = limits.foreign(Headers({"host": "evil.example"}), server)

    assert line == f"refused: the Host header names another machine; use {address}"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/healthz"), ("GET", "/nowhere"), ("POST", "/api/v1/telemetry"), ("GET", "/metrics")]
)
def test_every_answer_is_what_its_type_says(served: Served, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request(method, path, b"nonsense" if method == "POST" else None)

    assert connection.getresponse().headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_gzip_of_very_many_members_is_refused_at_once():
    with pytest.raises(Refused, match="more than 64 members") as error:
        gunzip(gzip.compress(b"") * 190_000)
    assert error.value.status == 400


def test_a_body_of_too_many_events_is_refused(served: Served):
    assert served.post(b'{"events":[%s0]}' % (b"0," * 1_990_000)) == (
        413,
        b"the body has more than 20,000 events; send fewer at once\n",
    )


async def test_a_large_body_is_taken_in_beside_the_loop(tmp_path, monkeypatch):
    threads: list[str] = []

    def noted(body: bytes) -> ingest.Intake:
        threads.append(threading.current_thread().name)
        return take_in(body)

    monkeypatch.setattr(ingest, "take_in", noted)
    endpoint = ingest.Ingest(inbox := Inbox(tmp_path / "inbox"), Counters())
    large = json.dumps(wire_body("s", [wire_event(0, event_data="x" * 150_000)])).encode()
    small = json.dumps(wire_body("s", [wire_event(0)])).encode()

    for body, headers in ((large, []), (small, []), (gzip.compress(small), [(b"content-encoding", b"gzip")])):
        assert await asked(endpoint, body, headers) == 200

    inbox.close()
    assert [name.startswith("tinkertape-intake") for name in threads] == [True, False, True]


async def asked(endpoint: ingest.Ingest, body: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    await endpoint({"type": "http", "headers": headers}, receive, send)
    return statuses[0]


async def test_more_than_so_many_bytes_at_once_are_told_to_come_again(monkeypatch):
    monkeypatch.setattr(limits, "FLIGHT_MAX", 1_000)
    flight = Flight()
    messages = iter([b"x" * 600, b"x" * 600, b"x" * 600])

    async def receive() -> Message:
        return {"type": "http.request", "body": next(messages), "more_body": True}

    with flight.share() as first, flight.share() as second:
        assert first.grow(900)
        with pytest.raises(Refused) as refused:
            await limits.read_body(ended(receive), second)
        assert (flight.bytes, refused.value.status) == (900, 503)
        assert refused.value.response().headers["retry-after"] == "1"
    assert flight.bytes == 0


def ended(receive: Receive) -> Receive:
    """The same with an end."""

    async def until_the_end() -> Message:
        try:
            return await receive()
        except (StopIteration, RuntimeError):
            return {"type": "http.request", "body": b""}

    return until_the_end


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "])
def test_a_head_that_never_ends_is_cut_off(served: Served, begin):
    assert raw_exchange(served, begin).startswith(b"HTTP/1.1 408 ")


def test_a_head_without_end_is_too_large(served: Served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):  # long before the ten megabytes
            for number in range(10_000):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 1_000))


def test_what_is_no_request_is_one_line_and_leaves_none_in_the_log(collector: Served, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        collector.start(stderr=log)
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    for _ in range(20):
        answer = raw_exchange(collector, b"nonsense\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ") and b"nosniff" in answer
        assert raw_exchange(collector, upgrade % collector.port).startswith(b"HTTP/1.1 200 ")
    collector.stop()

    assert (tmp_path / "log").read_bytes() == b""


def test_only_a_post_brings_telemetry(served: Served):
    assert served.get("/api/v1/telemetry")[0] == 405


def test_the_limits_are_the_documented_ones():
    assert (limits.BODY_MAX, limits.BODY_TIME_S) == (4_000_000, 10.0)
