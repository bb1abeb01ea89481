"""A collector that cannot serve says why in one line."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys

import pytest
from tests.collector.conftest import ROOT, Served

from tinkertape.collector.serve import listen
from tinkertape.errors import CollectorError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "2130706433"])
def test_any_address_but_loopback_is_refused(host):
    with pytest.raises(CollectorError, match="only this machine may read a run until there are keys") as error:
        listen(host, 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_is_served(host):
    with listen(host, 0) as listening:
        assert listening.getsockname()[0].startswith("127.")


def test_a_port_in_use_is_one_line():
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]

        with pytest.raises(CollectorError, match=f"cannot listen on 127.0.0.1:{port}: .*choose another with --port"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999_999])
def test_a_port_that_is_none_is_one_line(port):
    with pytest.raises(CollectorError, match="cannot listen on"):
        listen("127.0.0.1", port)


def test_a_second_collector_over_one_store_is_told_who_has_it(collector: Served):
    collector.start()

    second = subprocess.run(
        [sys.executable, "-m", "tests.collector.serve_process", str(collector.folder), "0", "1", "{}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert second.returncode == 1
    assert second.stderr == (
        f"cannot open {collector.store}: process {collector.process.pid} is using it; "
        "stop it, or choose another folder with --store\n"
    )
    assert collector.get("/healthz")[0] == 200


def test_it_listens_on_loopback_only(served: Served):
    addresses = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "::1"}

    for address in addresses:
        if ":" not in address and not address.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((address, served.port), timeout=2):
                pass


def test_an_open_stream_does_not_hold_up_the_end(collector: Served):
    collector.start()
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
    connection.request("GET", "/api/v1/stream")
    answer = connection.getresponse()
    answer.readline()

    assert collector.stop() == 0

    assert answer.read() in (b"", b"\n")  # it ended as a stream ends, not cut off


def test_it_ends_with_status_0_and_frees_the_store(collector: Served):
    collector.start()
    assert collector.stop() == 0

    collector.start()
    assert collector.get("/healthz")[0] == 200
