"""From a tape to a collector, over a real socket: at least once, on from where it stopped, and never in the way."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from backports.zstd import ZstdFile
from tests.delivery.conftest import Door
from tests.waiting import wait_until
from tinker.types import TelemetrySendRequest

from tinkertape.collector.limits import BODY_MAX
from tinkertape.config import new_ulid
from tinkertape.delivery import Delivery
from tinkertape.delivery.post import Collector
from tinkertape.errors import DeliveryError
from tinkertape.guard import failures
from tinkertape.tape import Recorder
from tinkertape.tape.compression import compress
from tinkertape.tape.format import LINE_MAX
from tinkertape.tape.forms import compressed_path
from tinkertape.tape.removal import make_room


def delivered(recorder: Recorder, door: Door, timeout_s: float = 20.0, **settings: Any) -> Delivery:
    recorder.flush()
    delivery = Delivery(recorder.folder, door.url, **settings)
    delivery.start()
    assert delivery.close(timeout_s)
    return delivery


def test_a_collector_of_ours_gets_the_whole_lines_the_header_and_the_ledger(recorder: Recorder, ours: Door) -> None:
    for number in range(600):
        recorder.record("my.thing.done", {"rows": number}, {"path": "p"}, None)
    recorder.close("success")
    delivered(recorder, ours)

    assert [event["measurements"]["rows"] for event in ours.events] == list(range(600))
    assert max(len(body["events"]) for body in ours.bodies) <= 500
    assert ours.bodies[0]["tape"]["name"] == "x"
    assert ours.bodies[0]["session_id"] == recorder.run
    assert ours.bodies[-1]["ledger"]["recorded"] == 600


def test_what_was_acknowledged_is_not_sent_again_after_a_restart(recorder: Recorder, ours: Door) -> None:
    recorder.record("before.restart", {}, {}, None)
    delivered(recorder, ours)
    recorder.record("after.restart", {}, {}, None)
    delivered(recorder, ours)

    assert ours.names == ["before.restart", "after.restart"]
    [acknowledgement] = recorder.folder.glob("*.ack")
    assert json.loads(acknowledgement.read_bytes())["offset"] == recorder.path.stat().st_size


def test_a_torn_or_lost_acknowledgement_sends_again_rather_than_lose(recorder: Recorder, ours: Door) -> None:
    recorder.record("my.event", {}, {}, None)
    delivered(recorder, ours)
    next(recorder.folder.glob("*.ack")).write_bytes(b'{"collector":"http')
    delivered(recorder, ours)

    assert ours.names == ["my.event", "my.event"]


def test_what_another_run_left_behind_goes_out_after_our_own(recorder: Recorder, ours: Door) -> None:
    run = new_ulid()
    left = Recorder(recorder.folder.parent / run, run)
    left.record("left.behind", {}, {}, None)
    left.close()
    recorder.record("our.own", {}, {}, None)
    recorder.flush()

    delivery = Delivery(recorder.folder, ours.url)
    delivery.start()
    wait_until(lambda: len(ours.events) == 2, otherwise=lambda: ours.names)
    delivery.close()

    assert ours.names == ["our.own", "left.behind"]


def test_segments_are_delivered_in_either_form_and_an_acknowledgement_holds_for_both(
    tmp_path: Path, ours: Door
) -> None:
    run = new_ulid()
    recorder = Recorder(tmp_path / "tapes" / run, run, segment_max=20_000)
    first = recorder.path
    for number in range(150):
        recorder.record("my.event", {"number": number}, {"padding": "x" * 40}, None)
        recorder.flush()
        if number == 40:
            assert first == recorder.path
            delivered(recorder, ours)
    assert len(ours.events) == 41

    wait_until(compressed_path(first).exists)
    recorder.close()
    delivered(recorder, ours)

    assert [event["measurements"]["number"] for event in ours.events] == list(range(150))
    assert not first.exists()


def test_while_delivery_waits_it_holds_no_segment(recorder: Recorder, ours: Door) -> None:
    ours.answers = lambda body: (503, {})
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url, flush_interval_s=0.0)
    delivery.start()
    wait_until(lambda: ours.requests > 0)

    wait_until(lambda: compress(recorder.path))

    ours.answers = lambda body: (200, {})
    wait_until(lambda: len(ours.events) == 1)
    delivery.close()
    assert ours.names == ["my.event"]


def test_two_deliveries_of_one_folder_do_not_send_the_same(recorder: Recorder, ours: Door) -> None:
    for number in range(50):
        recorder.record("my.event", {"number": number}, {}, None)
    recorder.flush()
    both = [Delivery(recorder.folder, ours.url) for _ in range(2)]
    for delivery in both:
        delivery.start()
    wait_until(lambda: len(ours.events) >= 50)
    for delivery in both:
        delivery.close()

    assert len(ours.events) == 50


@pytest.mark.parametrize(
    "line",
    [
        b"\x00garbage{\n[1,2",
        b'{"event":"GENERIC_EVENT","event_name":"\xff"}',
        b'{"event":"GENERIC_EVENT","event_data":' + b"[" * 100_000 + b"}",
        b'{"tape_end":1,"recorded":1,"status":"\xff"}',
    ],
    ids=["no JSON", "no UTF-8", "nested too deep", "an end that is no UTF-8"],
)
def test_a_bad_line_on_the_tape_holds_up_nothing(recorder: Recorder, ours: Door, line: bytes) -> None:
    recorder.record("my.first", {}, {}, None)
    recorder.flush()
    with recorder.path.open("ab") as file:
        file.write(line + b"\n")
    recorder.record("my.second", {}, {}, None)
    delivered(recorder, ours)

    assert ours.names == ["my.first", "my.second"]


@pytest.mark.parametrize("damage", [(b'{"tape":1', bytes(9)), (b'"sdk_version":"', b'"sdk_version":5,"x":"')])
def test_a_tape_that_lost_its_header_is_delivered_under_its_run_and_process(
    recorder: Recorder, ours: Door, damage: tuple[bytes, bytes]
) -> None:
    recorder.log("my.event")
    recorder.flush()
    damaged = recorder.path.read_bytes().replace(*damage)
    with recorder.path.open("r+b") as file:
        file.write(damaged)
    delivered(recorder, ours)

    assert ours.names == ["my.event"]
    assert [(body["tape"]["run"], body["tape"]["process"]) for body in ours.bodies] == [
        (recorder.run, recorder.process)
    ]


def test_a_collector_of_ours_learns_what_was_removed_for_lack_of_room_since(recorder: Recorder, ours: Door) -> None:
    recorder.log("my.event")
    recorder.close()
    process, segment = recorder.process, recorder.path
    make_room(segment.parent, [segment], 0)

    delivery = Delivery(segment.parent, ours.url)
    delivery.start()
    assert delivery.close(10)
    told = [body for body in ours.bodies if body.get("ledger", {}).get("dropped")]
    assert [(body["tape"]["process"], body["tape"]["name"], body["events"]) for body in told] == [(process, "x", [])]
    assert [(body["ledger"]["recorded"], body["ledger"]["dropped"]) for body in told] == [(1, {"space": 1})]


def test_a_server_that_ends_each_connection_is_sent_everything(recorder: Recorder, ours: Door) -> None:
    ours.server.RequestHandlerClass.protocol_version = "HTTP/1.0"
    for _ in range(600):
        recorder.log("my.event")
    delivered(recorder, ours)

    assert len(ours.events) == 600 and len(ours.bodies) > 1
    assert not any(place == "delivery" for place, _ in failures())


def test_a_collector_that_is_away_costs_the_exit_nothing(recorder: Recorder) -> None:
    with socket.socket() as taken:  # bound and never listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        recorder.record("my.event", {}, {}, None)
        recorder.flush()
        delivery = Delivery(recorder.folder, f"http://127.0.0.1:{taken.getsockname()[1]}")
        delivery.start()
        began_s = time.monotonic()
        delivered_all = delivery.close(30.0)

    assert not delivered_all
    assert time.monotonic() - began_s < 15.0  # far below the 30 s that it was given


def test_a_collector_that_hangs_holds_the_exit_no_longer_than_agreed(recorder: Recorder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        recorder.record("my.event", {}, {}, None)
        recorder.flush()
        delivery = Delivery(recorder.folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
        delivery.start()
        began_s = time.monotonic()
        delivered_all = delivery.close(0.3)

    assert not delivered_all
    assert time.monotonic() - began_s < 5.0


def test_a_foreign_server_gets_the_specification_s_events_in_the_sdk_s_own_form(
    recorder: Recorder, foreign: Door
) -> None:
    second = 1_000_000_000
    recorder.record("telemetry.session.start", {"system_time": 1}, {}, None)
    recorder.record("tinker.http.request.start", {"monotonic_time": 1}, {}, None)
    recorder.record("tinker.request.stop", {"duration": second}, {"request_id": "r1", "status": "success"}, None)
    recorder.record("tinker.request.exception", {"duration": 1}, {"request_id": "r2", "stacktrace": "long"}, None)
    recorder.record("tinker.queue.pause", {"monotonic_time": 1}, {"reason": "capacity"}, None)
    recorder.record("tinker.claim.stop", {"duration": 1}, {}, None)
    recorder.log("my.checkpoint", {"path": "p"})
    recorder.record("telemetry.session.stop", {"duration": 61 * second}, {"status": "success"}, None)
    recorder.close()
    delivery = delivered(recorder, foreign)

    assert foreign.names == [
        "SESSION_START",
        "request.complete",
        "request.error",
        "queue.paused",
        "my.checkpoint",
        "SESSION_END",
    ]
    [body] = foreign.bodies
    assert body["events"][1]["event_data"]["duration_ms"] == 1000.0
    assert body["events"][2]["severity"] == "ERROR"
    assert "stacktrace" not in body["events"][2]["event_data"]
    assert body["events"][-1]["duration"] == "0:01:01.000000"
    assert delivery.skipped == 2
    parsed = TelemetrySendRequest.model_validate(body)
    assert [type(event).__name__ for event in parsed.events][:2] == ["SessionStartEvent", "GenericEvent"]


def test_the_key_goes_to_loopback_and_https_only(
    recorder: Recorder, ours: Door, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.record("my.event", {}, {}, None)
    delivered(recorder, ours, key="tk-secret")

    assert ours.headers[0]["X-Api-Key" if "X-Api-Key" in ours.headers[0] else "X-API-Key"] == "tk-secret"
    assert Collector("http://collector.example", key="k").withheld_key
    assert not Collector("https://collector.example", key="k").withheld_key


def test_no_redirect_is_followed(recorder: Recorder, ours: Door, foreign: Door) -> None:
    ours.answers = lambda body: (307, {"Location": foreign.url + "/api/v1/telemetry"})
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url, key="k")
    delivery.start()
    wait_until(lambda: ours.requests >= 1)
    assert delivery.close(1.0) is False

    assert foreign.bodies == []


@pytest.mark.parametrize("url", ["ftp://x", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused_at_once(url: str, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError):
        Delivery(tmp_path, url)


def test_a_forked_child_s_file_is_delivered_by_its_parent(recorder: Recorder, ours: Door) -> None:
    recorder.record("from.parent", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url)
    delivery.start()
    wait_until(lambda: "from.parent" in ours.names)
    pid = os.fork()
    if pid == 0:
        recorder.record("from.child", {}, {}, None)
        recorder.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    wait_until(lambda: "from.child" in ours.names, otherwise=lambda: ours.names)

    assert delivery.close(5.0)


def test_a_batch_for_a_foreign_server_has_as_many_events_as_agreed_whatever_lies_between(
    recorder: Recorder, foreign: Door
) -> None:
    for number in range(600):
        recorder.record("my.event" if number % 3 == 0 else "tinker.claim.stop", {"number": number}, {}, None)
    recorder.close()
    delivery = delivered(recorder, foreign, flush_threshold=50)

    assert [len(body["events"]) for body in foreign.bodies] == [50, 50, 50, 50]
    assert delivery.skipped == 400


def test_a_line_that_is_longer_than_any_may_be_holds_up_nothing(recorder: Recorder, ours: Door) -> None:
    recorder.record("my.first", {}, {}, None)
    recorder.flush()
    with recorder.path.open("ab") as file:
        file.write(b"\x00" * (LINE_MAX + 3_000_000) + b"\n")
    recorder.record("my.second", {}, {}, None)
    delivered(recorder, ours)

    assert ours.names == ["my.first", "my.second"]


def test_what_waits_goes_to_a_collector_of_ours_in_large_bodies_that_it_takes(recorder: Recorder, ours: Door) -> None:
    for number in range(5_000):
        recorder.record("my.event", {"number": number}, {"padding": f"{number:0200}"}, None)
    delivered(recorder, ours)

    sizes = [len(json.dumps(body)) for body in ours.bodies]
    assert len(ours.events) == 5_000
    assert 500_000 < max(sizes) < BODY_MAX
    assert len(sizes) <= 5


def test_a_compressed_segment_is_decompressed_once(tmp_path: Path, ours: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_ulid()
    recorder = Recorder(tmp_path / "tapes" / run, run)
    for number in range(6_000):
        recorder.record("my.event", {"number": number}, {"padding": f"{number:0200}"}, None)
    recorder.close()
    [segment] = recorder.folder.glob("*.jsonl")
    size = segment.stat().st_size
    compress(segment)
    read = []
    read1 = ZstdFile.read1
    monkeypatch.setattr(ZstdFile, "read1", lambda file, most=-1: (read.append(data := read1(file, most)), data)[1])
    delivered(recorder, ours)

    assert len(ours.events) == 6_000
    assert size <= sum(map(len, read)) < 1.5 * size
