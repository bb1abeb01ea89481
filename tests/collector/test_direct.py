"""The usual body goes a shorter way than others, and nobody can tell by the answers."""

from __future__ import annotations

import json
import socket

import pytest
from tests.collector.conftest import Served, wire_body, wire_event
from tests.waiting import wait_until

from tinkertape.collector.direct import PATIENCE_S, Usual

ORIGIN = "Origin: http://127.0.0.1:%d\r\n"  # only a browser's, so it goes the long way


def request_of(served: Served, body: bytes, more: str = "", path: str = "/api/v1/telemetry") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def body_of(session: str, index: int) -> bytes:
    return json.dumps(wire_body(session, [wire_event(index)])).encode()


def answers(served: Served, count: int, *pieces: bytes) -> list[tuple[bytes, list[bytes], bytes]]:
    """Status line, headers in order of their names, and body of each answer to what one connection is sent."""
    found = []
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection,
        connection.makefile("rb") as file,
    ):
        for piece in pieces:
            connection.sendall(piece)
        for _ in range(count):
            status, headers = file.readline(), sorted(iter(file.readline, b"\r\n"))
            length = next(int(header.split()[1]) for header in headers if header.startswith(b"content-length"))
            found.append((status, headers, file.read(length)))
    return found


@pytest.mark.parametrize("body", [None, b"{", b'{"events": 5}', b'{"events": []}'], ids=repr)
def test_both_ways_answer_alike(served: Served, session: str, body: bytes | None):
    body = body_of(session, 1) if body is None else body

    [short] = answers(served, 1, request_of(served, body))
    [long] = answers(served, 1, request_of(served, body, ORIGIN % served.port))

    assert short == long
    assert short[0].startswith(b"HTTP/1.1 200 " if body != b"{" and b"5" not in body[:20] else b"HTTP/1.1 400 ")


def test_requests_that_come_at_once_are_answered_in_their_order(served: Served, session: str):
    bodies = [body_of(session, index) for index in range(4)]
    asked = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % served.port
    sent = [
        request_of(served, bodies[0]),
        asked,
        request_of(served, bodies[1]),
        request_of(served, b"{"),
        request_of(served, bodies[2]),
        request_of(served, bodies[3], ORIGIN % served.port),
        request_of(served, b"", path="/nowhere"),
    ]

    found = answers(served, len(sent), b"".join(sent))

    assert [status.split()[1] for status, _headers, _body in found] == [
        b"200",
        b"200",
        b"200",
        b"400",
        b"200",
        b"200",
        b"404",
    ]
    assert [b"accepted" in body for _status, _headers, body in found] == [True, False, True, False, True, True, False]
    assert served.settled(session, 4)["recorded"] == 4


def test_a_body_in_pieces_is_one(served: Served, session: str):
    request = request_of(served, body_of(session, 1))

    [(status, _headers, _body)] = answers(
        served, 1, *(request[place : place + 40] for place in range(0, len(request), 40))
    )

    assert status.startswith(b"HTTP/1.1 200 ")
    assert served.settled(session, 1)["recorded"] == 1


def test_a_body_whose_rest_comes_late_is_waited_for_by_the_app(served: Served, session: str):
    request = request_of(served, body_of(session, 1))
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(request[:-20])
        connection.settimeout(2 * PATIENCE_S)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(30)
        connection.sendall(request[-20:] + request_of(served, body_of(session, 2)))
        wait_until(lambda: served.settled(session, 2))


@pytest.mark.parametrize(
    ("header", "is_usual"),
    [
        ((b"x-api-key", b"k"), True),
        ((b"origin", b"http://127.0.0.1:1"), False),
        ((b"content-encoding", b"gzip"), False),
        ((b"transfer-encoding", b"chunked"), False),
        ((b"expect", b"100-continue"), False),
        ((b"sec-fetch-site", b"cross-site"), False),
        ((b"host", b"127.0.0.1:1"), False),
        ((b"content-length", b"7"), False),
    ],
    ids=repr,
)
def test_only_the_usual_goes_the_short_way(header: tuple[bytes, bytes], is_usual: bool):
    class Ready:
        def is_ready(self) -> bool:
            return True

    headers = [(b"host", b"127.0.0.1:1"), (b"content-length", b"9"), header]

    assert Usual(Ready()).size(headers, ("127.0.0.1", 1)) == (9 if is_usual else None)
    assert Usual(Ready()).size([(b"host", b"evil:1"), (b"content-length", b"9")], ("127.0.0.1", 1)) is None
    assert Usual(Ready()).size([(b"host", b"127.0.0.1:1"), (b"content-length", b"100001")], ("127.0.0.1", 1)) is None
