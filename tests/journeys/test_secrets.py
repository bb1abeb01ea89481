"""Six secrets, planted in a training run with failures: they are in no file, no answer, no page and no word of ours.

The run is recorded by us and reported by the SDK itself, to the same collector; what the SDK sends holds two of them.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import TINKERTAPE, call
from tests.faults.processes import Collector, ended, run_below, started
from tests.journeys.proxy import Proxy
from tests.waiting import wait_until

from tinkertape import sim
from tinkertape.sim import FutureFault, PollFault, Scenario, SubmitFault

SECRETS = {
    "the key of the service": "tml-4Wb9sQx7Zr2LkVn8TmJc",
    "a JWT in an error of the service": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJ4IjoxfQ.Qm9ndXNTaWduYXR1cmVfMDE",
    "a bearer in a text": "vK3yQ8mT5xWz1RbN6hJ0",
    "a password in logged data": "correct-horse-7-battery",
    "a word that is in a traceback only": "Zt8qLw3nXc5vBm1k",
    "a header that only the SDK's telemetry holds": "cf9d1e7ab2c84f60d3",
}
KEY, JWT, BEARER, PASSWORD, TRACEBACK, HEADER = SECRETS.values()

PROGRAM = """
import os, sys
import tinker, tinkertape
from tinker import types

sys.excepthook = lambda *_: None  # Python itself would print the last exception
jwt, bearer, password, word = os.environ["PLANTED"].split()
telemetry = tinkertape.get_telemetry()

@tinkertape.capture_exceptions
def connect():
    try:
        raise ConnectionError(f"refused: api_key={word}")
    except ConnectionError as error:
        raise RuntimeError("cannot connect to the warehouse") from error

telemetry.log("my.request", {"sent": "GET / HTTP/1.1\\r\\nAuthorization: Bearer " + bearer})
telemetry.log("my.login", {"user": "ada", "password": password, "more": [{"db_password": password}], "rows": 3})
try:
    connect()
except RuntimeError:
    pass
tokens = list(range(64))
data = [types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs={"target_tokens": tokens[1:],
        "weights": [1.0] * 63})]
with tinker.ServiceClient() as service:
    client = service.create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()
    for _ in range(4):
        forward_backward = client.forward_backward(data, "cross_entropy")
        optim_step = client.optim_step(types.AdamParams(learning_rate=1e-3))
        try:
            forward_backward.result()
        except tinker.RequestFailedError as error:
            telemetry.log("my.failure", {"error": error, "text": repr(error)}, severity="ERROR")
        optim_step.result()
raise RuntimeError("giving up; authorization: Bearer " + bearer)
"""
SCENARIO = Scenario(
    poll_hold_s=0.5,
    poll_faults=(PollFault(nth=2, status=400, message="bad gateway hop"),),
    submit_faults=(SubmitFault(nth=3, status=503, message=f"no upstream takes {JWT}"),),
    future_faults=(FutureFault(nth=4, category="user", message=f"cannot read the data set with {JWT}"),),
)
DUMP = """
import sys
from pathlib import Path
from tinkertape.store.engine import Engine
engine = Engine(Path(sys.argv[1]))
for (name,) in engine.read("SELECT name FROM system.tables WHERE database = currentDatabase()"):
    print("table", name)
    for row in engine.read(f"SELECT * FROM `{name}`"):
        print(row)
engine.close()
"""


class Searched(msgspec.Struct):
    """Everything that is left of the run, by where it is; and what went through the proxy."""

    texts: dict[str, bytes]
    sent: bytes
    names: set[str]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    folder = tmp_path_factory.mktemp("secrets")
    home = folder / "home"
    collector = Collector(folder / "collector").start()
    texts: dict[str, bytes] = {}
    with sim.start(SCENARIO) as service:
        proxy = Proxy(service.url, collector.url)
        program = folder / "program.py"
        program.write_text(PROGRAM)
        training = started(
            [*TINKERTAPE, "run", str(program)],
            directory=home,
            service=proxy.url,
            TINKER_API_KEY=KEY,
            TINKER_TELEMETRY="1",
            TINKERTAPE_URL=collector.url,
            CLOUDFLARE_ACCESS_CLIENT_ID="made-up-client",
            CLOUDFLARE_ACCESS_CLIENT_SECRET=HEADER,
            PLANTED=f"{JWT} {BEARER} {PASSWORD} {TRACEBACK}",
        )
        status, said, complained = ended(training)
        assert status == 1 and "forward_backward" in complained, complained
        texts |= {"stdout of run": said.encode(), "stderr of run": complained.encode()}
        run = run_below(home)
        wait_until(
            lambda: collector.state(run) == "failed" and collector.ledger(run)["pending"] == 0,
            within_s=60,
            otherwise=lambda: f"{collector.runs()} {collector.ledger()}",
        )
        names = {line.get("event_name", line["event"]) for line in collector.events(run)}
        texts |= said_by(collector, [row["run"] for row in collector.runs()])
        texts |= told_by_commands(home, folder / "nothing", collector.url)
        proxy.close()
    assert collector.stop() == 0
    texts["the store, row by row"] = dump(collector.store)
    for path in [*home.rglob("*"), *folder.joinpath("collector").rglob("*"), collector.log]:
        if path.is_file():
            texts[str(path.relative_to(folder))] = path.read_bytes()
    yield Searched(texts, b"\n".join(proxy.bodies), names)
    collector.end()


def said_by(collector: Collector, runs: list[str]) -> dict[str, bytes]:
    """Every page and answer of the collector."""
    paths = ["/", "/metrics", "/healthz", "/api/v1/runs", "/api/v1/ledger"]
    for run in runs:
        name = urllib.parse.quote(run, safe="")
        paths += [f"/runs/{name}", f"/api/v1/runs/{name}", f"/api/v1/runs/{name}/diagnosis"]
        paths += [f"/api/v1/runs/{name}/events?limit=100000"]
    return {f"GET {path}": collector.text(path).encode() for path in paths}


def told_by_commands(home: Path, nothing: Path, url: str) -> dict[str, bytes]:
    """What the commands say that read a run: from the tape, and from the collector."""
    said = {}
    for where, directory, more in (("tape", home, {}), ("collector", nothing, {"TINKERTAPE_URL": url})):
        for command in (
            ["show", "last"],
            ["tail", "--no-follow", "-n", "100000", "last"],
            ["diagnose", "--json", "last"],
        ):
            shown = call([*TINKERTAPE, *command], directory, **more)
            assert shown.returncode in (0, 1), shown.stderr
            said[f"{' '.join(command)} from the {where}"] = (shown.stdout + shown.stderr).encode()
    return said


def dump(store: Path) -> bytes:
    """Every row of every table, unpacked by the engine in a process of its own."""
    dumped = subprocess.run(
        [sys.executable, "-c", DUMP, str(store)], capture_output=True, timeout=60, env={**os.environ}, check=False
    )
    assert dumped.returncode == 0, dumped.stderr.decode()
    assert b"my.login" in dumped.stdout
    return dumped.stdout


@pytest.mark.timeout(180)
@pytest.mark.parametrize("which", SECRETS)
def test_a_planted_secret_is_in_no_file_no_answer_no_page_and_no_word_of_ours(searched: Searched, which: str) -> None:
    secret = SECRETS[which]
    spellings = {secret.encode(), urllib.parse.quote(secret, safe="").encode(), base64.b64encode(secret.encode())}

    found = [
        (where, text[max(0, at - 80) : at + len(spelling) + 20])
        for where, text in searched.texts.items()
        for spelling in spellings
        if (at := text.find(spelling)) >= 0
    ]

    assert found == []


def test_the_secrets_were_there_to_be_found(searched: Searched) -> None:
    """The SDK itself sent two of them; and what stood around all of them is in the store."""
    assert HEADER.encode() in searched.sent and KEY.encode() in searched.sent
    assert {"my.login", "my.request", "my.failure", "exception.connect", "telemetry.exception"} <= searched.names
    assert "tinker.sdk.event" in searched.names and "tinker.training.forward_backward.exception" in searched.names
    for word in (
        b"cannot connect to the warehouse",
        b"cannot read the data set with",
        b"giving up",
        b"request_headers",
    ):
        assert word in searched.texts["the store, row by row"], word
    assert b"refused: api_key=[redacted]" in searched.texts["the store, row by row"]
    assert len(searched.texts) > 30
