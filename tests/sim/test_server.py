from __future__ import annotations

import ast
import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from tests.sim.client import INSTANT, of_kind
from tests.waiting import wait_until

import tinkertape.sim
from tinkertape.sim import Scenario, SimError, read_truth, start

QUICK = Scenario(compute_s=INSTANT, max_body_bytes=10_000)
PROGRAM = [sys.executable, "-m", "tinkertape.sim"]


def test_an_unknown_route_is_a_404_that_says_so(wire_of):
    answer = wire_of(QUICK).http.post("/no_such_thing", json={})

    assert answer.status_code == 404
    assert answer.json()["detail"] == "the simulated service does not know POST /api/v1/no_such_thing"


@pytest.mark.parametrize(
    "headers",
    [{"host": "attacker.example"}, {"origin": "https://attacker.example"}, {"host": "127.0.0.1.attacker.example:80"}],
)
def test_a_foreign_host_or_origin_is_refused(wire_of, headers):
    answer = wire_of(QUICK).http.get("/healthz", headers=headers)

    assert answer.status_code == 403
    assert "attacker.example" in answer.json()["detail"]


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8080"])
def test_this_machines_own_names_are_not_refused(wire_of, host):
    assert wire_of(QUICK).http.get("/healthz", headers={"host": host}).json() == {"status": "ok"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.com", ""])
def test_another_address_than_loopback_is_refused_in_one_line(host):
    with pytest.raises(SimError, match="loopback only") as raised:
        start(QUICK, host=host)

    assert "\n" not in str(raised.value)


def test_a_body_too_large_is_refused_packed_or_not(wire_of):
    wire = wire_of(QUICK)
    packed = gzip.compress(b" " * 1_000_000)

    plain = wire.http.post("/create_session", content=b" " * 10_001)
    bomb = wire.http.post("/create_session", content=packed, headers={"content-encoding": "gzip"})

    assert (plain.status_code, bomb.status_code, len(packed) < 10_000) == (413, 413, True)
    assert wire.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"model_id": 3}', "application/json"),
        (b'{"model_id": "m", "seq_id": [1], "forward_backward_input": {"data": 3}}', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"not protobuf", "application/x-protobuf"),
        (b"[" * 5_000, "application/json"),
    ],
)
def test_a_malformed_body_is_a_422_with_the_reason(wire_of, content, content_type):
    answer = wire_of(QUICK).http.post("/forward_backward", content=content, headers={"content-type": content_type})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cannot read this")


def test_unknown_models_promises_and_sessions_are_told(wire_of):
    wire = wire_of(QUICK)

    answers = [
        wire.http.post("/optim_step", json={"model_id": "none", "seq_id": 1, "adam_params": {}}),
        wire.http.post("/retrieve_future", json={"request_id": "none"}),
        wire.http.post("/session_heartbeat", json={"session_id": "none"}),
        wire.http.get("/samplers/none"),
    ]

    assert [answer.status_code for answer in answers] == [404, 410, 410, 404]


def test_closing_lets_a_held_poll_go(wire_of):
    wire = wire_of(Scenario(compute_s=INSTANT | {"ForwardBackward": 60.0}, poll_hold_s=30))
    request_id = wire.forward_backward(wire.model(), seq=1)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(wire.poll(request_id).status_code))
    thread.start()
    wait_until(lambda: of_kind(wire.sim, "started", request_type="ForwardBackward"))
    wait_until(lambda: wire.sim._service.promises[request_id].polls == 1)

    wire.sim.close()
    wire.sim.close()

    thread.join(10)
    assert answers == [503]


def test_a_port_in_use_is_one_line_and_status_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = subprocess.run([*PROGRAM, "--port", str(port)], capture_output=True, text=True, timeout=30, check=False)

    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == (
        f"tinkertape: cannot listen on 127.0.0.1:{port}: another program does; choose another port, or 0 for any\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "loopback only"),
        (["--scenario", "/nowhere.toml"], "cannot read the scenario"),
        (["--truth", "/nowhere/truth.jsonl"], "cannot write the truth"),
        (["--port", "99999"], "cannot listen"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(arguments, says):
    ran = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=30, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert says in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_where_it_listens_and_ends_at_a_signal(tmp_path: Path, number: signal.Signals):
    truth = tmp_path / "truth.jsonl"
    with subprocess.Popen(
        [*PROGRAM, "--seed", "4", "--truth", str(truth)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        url = json.loads(program.stdout.readline())["listening"]
        assert httpx.get(f"{url}/api/v1/healthz").json() == {"status": "ok"}
        program.send_signal(number)
        assert program.wait(20) == 0

    first, *_, last = read_truth(truth)
    assert (first["scenario"]["name"], first["scenario"]["seed"], last["what"]) == ("demo", 4, "ended")


def test_it_imports_nothing_else_of_ours_and_not_the_whole_sdk():
    folder = Path(tinkertape.sim.__file__).parent
    names = [
        node.module
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    code = "import sys, tinkertape.sim as s; s.start().close(); print({'tinker', 'pydantic'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout

    assert [name for name in names if name.startswith("tinkertape") and not name.startswith("tinkertape.sim")] == []
    assert loaded == "set()\n"
