"""The socket finds somebody to send to, and says when there is nobody."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.metrics.reporters.receiver import Receiver

from tinkertape.errors import MetricError
from tinkertape.metrics.statsd.losses import Losses
from tinkertape.metrics.statsd.transport import Destination, Transport, destination_of


def transport_to(hosts: Sequence[str], port: int, **options: Any) -> Transport:
    addresses: list[Any] = [(socket.AF_INET, (host, port)) for host in hosts]
    return Transport(
        Destination("statsd.test", port), Losses(), look_up=lambda destination: addresses.copy(), **options
    )


def test_of_several_addresses_the_one_that_takes_it_is_used_and_kept() -> None:
    with Receiver() as receiver:
        transport = transport_to(["127.0.0.2", "127.0.0.1"], receiver.port)
        assert transport.ready()
        outcomes = [transport.send(b"a:1|c"), transport.send(b"b:1|c")]
        transport.close()

        assert outcomes == ["sent", "sent"]
        assert receiver.read() == [b"a:1|c", b"b:1|c"]
    assert transport.address == ("127.0.0.1", receiver.port)


def test_where_nobody_is_the_same_can_be_given_again() -> None:
    with Receiver() as receiver:
        port = receiver.port
    transport = transport_to(["127.0.0.1", "127.0.0.2"], port)
    assert transport.ready()
    assert transport.send(b"a:1|c") == "later"
    with Receiver(port=port) as receiver:
        assert transport.ready()
        assert transport.send(b"a:1|c") == "sent"

        assert receiver.read() == [b"a:1|c"]
    transport.close()


def test_a_look_up_that_fails_is_made_again_less_and_less_often() -> None:
    asked: list[float] = []
    clock = [0.0]

    def look_up(destination: Destination) -> Any:
        asked.append(clock[0])
        raise socket.gaierror("no answer")

    transport = Transport(Destination("statsd.test"), Losses(), look_up=look_up, monotonic=lambda: clock[0])
    for second in range(200):
        clock[0] = float(second)
        assert not transport.ready()

    assert asked == [0, 1, 3, 7, 15, 31, 63, 123, 183]


def test_at_the_end_no_name_is_looked_up() -> None:
    def look_up(destination: Destination) -> Any:
        raise AssertionError

    transport = Transport(Destination("statsd.test"), Losses(), look_up=look_up)

    assert not transport.ready(may_block=False)


@pytest.mark.parametrize(
    ("host", "is_name"), [("127.0.0.1", False), ("::1", False), ("fe80::1%lo", False), ("localhost", True)]
)
def test_an_address_is_no_name(host: str, is_name: bool) -> None:
    assert destination_of(host, 8125, None, None).is_name is is_name


def test_a_path_that_streams_is_trouble_and_no_exception(tmp_path: Path) -> None:
    path = tmp_path / "stream.sock"
    losses = Losses()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(path))
        stream.listen()
        transport = Transport(destination_of("", 0, path, None), losses)

        assert not transport.ready()
    assert losses.by_reason() == {}


def test_a_name_that_no_server_would_know_is_trouble_and_no_exception() -> None:
    transport = Transport(destination_of("x" * 100 + ".test", 8125, None, None), Losses())

    assert not transport.ready()


def test_a_name_is_looked_up_as_it_is_written_on_the_wire() -> None:
    assert destination_of("bücher.test", 8125, None, None).host == "xn--bcher-kva.test"
    with pytest.raises(MetricError, match="which is no name"):
        destination_of("é" * 100 + ".test", 8125, None, None)


def test_a_look_up_imports_nothing_so_that_a_fork_meanwhile_leaves_the_child_whole() -> None:
    script = """
import sys
from tinkertape.metrics.statsd.transport import destination_of, look_up
before = set(sys.modules)
for host in ("127.0.0.1", "::1", "localhost"):
    look_up(destination_of(host, 8125, None, None))
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"
