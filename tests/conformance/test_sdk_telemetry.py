"""What is wrong with the SDK's own telemetry (facts/sdk.md §6) is right with ours, sent to a server of others."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tinker
from tests.delivery.conftest import Door
from tests.waiting import wait_until
from tinker import types

import tinkertape
from tinkertape.sim import FutureFault, Scenario
from tinkertape.tape import Recorder, open_tape
from tinkertape.telemetry import Telemetry
from tinkertape.testing import sim
from tinkertape.wire import WireEvent

item = pytest.mark.conformance
KEY = "tml-9f8e7d6c5b4a39281706f5e4d3c2b1a0"


@pytest.fixture
def door() -> Iterator[Door]:
    """A server of others, which knows Tinker's wire and nothing of ours."""
    made = Door(ours=False)
    yield made
    made.close()


@pytest.fixture
def telemetry(door: Door) -> Iterator[Telemetry]:
    started = tinkertape.start("d", url=door.url, instrument=False, exit_timeout_s=20.0)
    yield started
    started.close()


def generic(door: Door) -> list[dict[str, Any]]:
    return [event for event in door.events if event["event"] == "GENERIC_EVENT"]


@item("D1", beat="keys are taken out before anything is written, so they are neither on the tape nor on the wire")
def test_D1_no_credentials_are_in_what_is_written_or_sent(telemetry: Telemetry, door: Door) -> None:
    headers = {"x-api-key": KEY, "CF-Access-Client-Secret": "cf9d1e7ab2c84f60", "accept": "application/json"}
    telemetry.log(
        "APIFuture.result_async.api_status_error", {"request_headers": headers, "detail": f"key {KEY} is old"}
    )
    telemetry.close()

    [event] = generic(door)
    assert event["event_data"]["request_headers"]["accept"] == "application/json"
    everything = repr(door.bodies).encode() + b"".join(path.read_bytes() for path in telemetry.tape.iterdir())
    assert KEY.encode() not in everything
    assert b"cf9d1e7ab2c84f60" not in everything


@item("D2", beat="what JSON cannot say is rendered; the event, its batch and the later ones arrive")
def test_D2_an_event_that_json_cannot_say_is_one_event_and_ends_nothing(telemetry: Telemetry, door: Door) -> None:
    cycle: dict[str, Any] = {"rows": 1}
    cycle["self"] = cycle
    odd = [object(), {1, 2}, b"\xff", float("nan"), cycle, {"a": {5: "\ud800"}}]
    accepted = [telemetry.log(f"odd.{number}", {"data": data}) for number, data in enumerate(odd)]
    telemetry.log("later", {})
    telemetry.close()

    assert accepted == [True] * len(odd)
    assert [event["event_name"] for event in generic(door)] == [*(f"odd.{number}" for number in range(6)), "later"]


@item("D3", beat="no model stands between tape and wire: an event keeps its kind, its name and its data")
def test_D3_an_event_is_sent_as_what_it_is_whatever_its_data_looks_like(telemetry: Telemetry, door: Door) -> None:
    data = {"event": "SESSION_START", "event_id": "x", "duration": "0:00:01"}
    telemetry.log("session.like", data)
    telemetry.close()

    assert [(event["event"], event["event_name"], event["event_data"]) for event in generic(door)] == [
        ("GENERIC_EVENT", "session.like", data)
    ]
    stripped = msgspec.json.decode(b'{"event":"GENERIC_EVENT","event_id":"e"}', type=WireEvent)  # as such an SDK sends
    assert (stripped.event, stripped.event_name, bytes(stripped.event_data)) == ("GENERIC_EVENT", "", b"")


@item("D4", beat="it waits half a second at most, for its own disk; the SDK waits 30 s for the collector")
def test_D4_a_telemetry_endpoint_that_hangs_does_not_hold_up_the_programs_exception() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        telemetry = tinkertape.start(
            "d4", url=f"http://127.0.0.1:{silent.getsockname()[1]}", instrument=False, exit_timeout_s=0.1
        )
        silent.accept()  # it is asked, and never answers
        began_s = time.monotonic()
        with pytest.raises(ValueError, match="my own"), tinkertape.capture_exceptions(fatal=True):
            raise ValueError("my own")
        took_s = time.monotonic() - began_s
        on_tape = [event.name for event in open_tape(telemetry.tape)]
        telemetry.close()

    assert "telemetry.exception" in on_tape
    assert took_s < 15.0  # half of what the SDK takes; this machine may be busy


@item("D5", beat="a normal exit sends everything, what a kill leaves is on the tape")
def test_D5_a_program_that_ends_without_close_has_sent_everything(door: Door, tmp_path: Path) -> None:
    script = (
        "import sys, tinkertape\nt = tinkertape.start('d5', url=sys.argv[1], instrument=False, exit_timeout_s=20)\n"
    )
    script += "for number in range(150): t.log('mine', {'number': number})\n"
    killed = script + "t.flush(); import os; os._exit(9)\n"
    statuses = [subprocess.run([sys.executable, "-c", text, door.url]).returncode for text in (script, killed)]
    sent = [event["event_data"]["number"] for event in generic(door)]
    pushed = subprocess.run([sys.executable, "-m", "tinkertape", "push", "--url", door.url], capture_output=True)

    assert statuses == [0, 9]
    assert sent[:150] == list(range(150))
    assert (pushed.returncode, len(generic(door))) == (0, 300)
    assert [event["event"] for event in door.events].count("SESSION_START") == 2


@item("D5", beat="no batch is ever given up, and a refused event holds up no other")
def test_D5_a_batch_that_fails_again_and_again_is_kept_and_a_refused_event_blocks_nothing(
    telemetry: Telemetry, door: Door
) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        if door.requests < 30:  # the SDK gives up after 11
            return 503, {"Retry-After": "0"}
        return (400, {}) if any(event.get("event_name") == "poison" for event in body["events"]) else (200, {})

    door.answers = answer
    for name in ("first", "poison", "last"):
        telemetry.log(name, {})
    telemetry.flush()
    assert telemetry._delivery is not None
    telemetry._delivery.drain(1.0)
    wait_until(lambda: "last" in door.names, within_s=30)
    telemetry.close()

    assert [event["event_name"] for event in generic(door)] == ["first", "last"]
    ledger = open_tape(telemetry.tape).ledger()
    assert (ledger.rejected, ledger.balanced) == (1, True)


@item("D5", beat="what finds no room is counted by reason, and said once")
def test_D5_what_finds_no_room_in_memory_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(tmp_path / "run", "run", max_pending=10)
    for number in range(20_000):
        recorder.log("mine", {"number": number})
    recorder.close()

    ledger = open_tape(tmp_path / "run").ledger()
    assert ledger.recorded == ledger.pending + sum(ledger.dropped.values()) == 20_000
    assert len(caplog.records) <= 1


@item("D6", beat="a forked child records into a file of its own, which its parent sends")
def test_D6_a_forked_child_records_and_nothing_is_sent_twice(telemetry: Telemetry, door: Door) -> None:
    telemetry.log("from.parent", {})
    child = os.fork()
    if child == 0:
        telemetry.log("from.child", {})
        telemetry.flush()
        os._exit(0)
    os.waitpid(child, 0)
    telemetry.close()

    assert sorted(event["event_name"] for event in generic(door)) == ["from.child", "from.parent"]
    assert len({event["event_id"] for event in door.events}) == len(door.events)


@item("D7", beat="one end, the last event, with the status; whatever failed before")
def test_D7_a_session_has_one_end_whatever_failed_before(telemetry: Telemetry, door: Door) -> None:
    for number in range(2):
        with pytest.raises(ValueError, match="failed"), tinkertape.capture_exceptions(fatal=True):
            raise ValueError(f"failed {number}")
        telemetry.log("after", {"number": number})
    telemetry.close("success")

    kinds = [event["event"] for event in door.events]
    assert (kinds[0], kinds[-1]) == ("SESSION_START", "SESSION_END")
    assert (kinds.count("SESSION_END"), kinds.count("UNHANDLED_EXCEPTION")) == (1, 2)


@item("D8", beat="each request's success and time, pauses and retries are events")
@item("D9", beat="an answer `not yet` is DEBUG; a failure is one event a layer, and all of them have its request's id")
def test_D8_D9_success_has_its_duration_waiting_is_no_warning_and_a_failure_has_one_id(
    door: Door, tmp_path: Path
) -> None:
    scenario = Scenario(
        poll_hold_s=0.1,
        compute_s={"CreateModel": 0.01, "ForwardBackward": 0.3},
        future_faults=(FutureFault(nth=2, category="server"),),
    )
    datum = types.Datum(
        model_input=types.ModelInput.from_ints([1, 2, 3]),
        loss_fn_inputs={"target_tokens": [2, 3, 4], "weights": [1.0, 1.0, 1.0]},
    )
    with (
        sim(scenario),
        tinkertape.record("d8", url=door.url, exit_timeout_s=20.0) as telemetry,
        tinker.ServiceClient() as service,
    ):
        client = service.create_lora_training_client(base_model="simulated/bytes-bigram", rank=8).result()
        client.forward_backward([datum], "cross_entropy").result()
        with pytest.raises(tinker.RequestFailedError):
            client.forward_backward([datum], "cross_entropy").result()
    events = list(open_tape(telemetry.tape))

    complete = [event["event_data"] for event in generic(door) if event["event_name"] == "request.complete"]
    [trained] = [data for data in complete if data["request_type"] == "ForwardBackward"]
    assert trained["duration_ms"] > 250
    waiting = [
        event
        for event in events
        if event.name == "tinker.future.poll.stop" and event.metadata.get("status_code") == 408
    ]
    assert {event.severity for event in waiting} == {"DEBUG"}
    failed = [event for event in events if event.name == "tinker.request.exception"]
    [request_id] = [event.metadata["request_id"] for event in failed]
    assert [event["event_data"]["request_id"] for event in generic(door) if event["event_name"] == "request.error"] == [
        request_id
    ]


class Refused(Exception):
    """What a client raises for an HTTP answer."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"HTTP {status_code}")
        self.status_code = status_code


@item("D10", beat="no answer is the user's mistake and worth another try at once")
def test_D10_what_is_the_users_mistake_is_never_worth_another_try() -> None:
    both = [
        status
        for status in range(600)
        if tinkertape.is_user_error(Refused(status)) and tinkertape.classify(Refused(status)).retryable
    ]

    assert both == []
    assert not tinkertape.is_user_error(Refused(429)) and tinkertape.classify(Refused(429)).retryable
    assert tinkertape.is_user_error(Refused(409)) and not tinkertape.classify(Refused(409)).retryable


@item("D12", beat="durations are of the monotonic clock, and ids are of the process and never collide")
def test_D12_a_clock_that_is_set_back_changes_no_duration_and_no_order(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns()
    backwards = itertools.count(now_ns, -3_600_000_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: next(backwards))
    with tinkertape.record("d12", url=door.url, instrument=False, exit_timeout_s=20.0) as telemetry:
        telemetry.log("first", {})
        telemetry.log("second", {})

    end = door.events[-1]
    assert end["duration"].startswith("0:00:")
    indices = [event["event_session_index"] for event in door.events]
    assert indices == sorted(set(indices))
    assert [event["event_name"] for event in generic(door)] == ["first", "second"]


@item("D13", beat="the SDK's switch is the SDK's: with every value of it there is a telemetry of ours")
@pytest.mark.parametrize("value", ["", "0", "no", "OFF", "banana", "1", "True"])
def test_D13_the_switch_of_the_sdks_telemetry_does_not_take_ours_away(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", value)
    with tinkertape.record("d13") as telemetry:
        assert tinkertape.get_telemetry() is telemetry
        assert telemetry.log("mine", {})

    names = [event.name for event in open_tape(telemetry.tape)]
    assert "mine" in names
