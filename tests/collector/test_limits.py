"""What the collector does not take, and that it goes on."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Iterator

import pytest
from tests.collector.conftest import ACCEPTED, Served, wire_body, wire_event

from tinkertape.collector import limits
from tinkertape.collector.limits import Refused, gunzip


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


def test_a_body_that_ends_too_early_harms_nobody(served: Served):
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(
            b'POST /api/v1/telemetry HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 500\r\n\r\n{"ev' % served.port
        )


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


@pytest.mark.parametrize("body", [b"nonsense", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"rest", b"\x1f\x8b"])
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


def test_only_a_post_brings_telemetry(served: Served):
    assert served.get("/api/v1/telemetry")[0] == 405


def test_the_limits_are_the_documented_ones():
    assert (limits.BODY_MAX, limits.BODY_TIME_S) == (4_000_000, 10.0)
