"""What each answer of a collector means for the events: again, set aside, or nothing more to this collector."""

from __future__ import annotations

import contextlib
import email.message
import http.client
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.delivery.conftest import Door
from tests.waiting import wait_until

import tinkertape
import tinkertape.delivery
from tinkertape.config import new_ulid
from tinkertape.delivery import Delivery
from tinkertape.delivery.post import RETRY_AFTER_MAX_S, Answer, Collector, retry_after_s
from tinkertape.delivery.segments import Segment
from tinkertape.delivery.sender import BACKOFF_MAX_S, Sender
from tinkertape.errors import DeliveryError
from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.forms import compressed_path
from tinkertape.testing import captured_events


def send(recorder: Recorder, door: Door, timeout_s: float = 20.0) -> bool:
    """One delivery, from its start to its end; whether everything was acknowledged."""
    recorder.flush()
    delivery = Delivery(recorder.folder, door.url)
    delivery.start()
    return delivery.close(timeout_s)


def sender_to(door: Door) -> Sender:
    return Sender(Collector(door.url))


def refusing(*poison: str, status: int = 422) -> Callable[[dict[str, Any]], tuple[int, dict[str, str]]]:
    """A server that refuses every body with one of these events in it."""

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        names = {event["event_name"] for event in body["events"]}
        return (status, {}) if names & set(poison) else (200, {})

    return answer


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (Answer(200), "accepted"),
        (Answer(204), "accepted"),
        (Answer(307), "again"),
        (Answer(400), "content"),
        (Answer(401), "us"),
        (Answer(402), "us"),
        (Answer(403), "us"),
        (Answer(404), "again"),
        (Answer(408), "again"),
        (Answer(413), "content"),
        (Answer(422), "content"),
        (Answer(429), "again"),
        (Answer(500), "again"),
        (Answer(503), "again"),
        (Answer(500, should_retry=False), "content"),
        (Answer(422, should_retry=True), "again"),
    ],
)
def test_which_answers_are_worth_another_try(answer: Answer, meaning: str) -> None:
    meanings = {"accepted": answer.accepted, "us": answer.refuses_us, "content": answer.refuses_content}

    assert next((name for name, holds in meanings.items() if holds), "again") == meaning


def test_a_poison_event_is_found_set_aside_with_its_reason_and_the_rest_goes_on(recorder: Recorder, ours: Door) -> None:
    ours.answers, ours.said = refusing("my.poison"), "no such thing\nand more"
    for number in range(120):
        recorder.record("my.poison" if number in (0, 37, 38, 119) else "my.event", {"number": number}, {}, None)
    recorder.record("my.last", {}, {}, None)
    recorder.close("success")
    assert send(recorder, ours)

    numbers = [event["measurements"]["number"] for event in ours.events if event["event_name"] == "my.event"]
    assert numbers == [number for number in range(120) if number not in (0, 37, 38, 119)]
    assert ours.names[-1] == "my.last"
    verified = open_tape(recorder.folder).verify()
    assert verified.is_whole
    assert (verified.ledger.recorded, verified.ledger.rejected, verified.ledger.pending) == (121, 4, 117)
    assert tinkertape.diagnose(recorder.folder).ledger["pending"] == 121  # here they can all be read
    assert f"my.poison, index 37, was refused by {ours.url}: HTTP 422: no such thing" in verified.notes[1]
    assert ours.requests < 60


@pytest.mark.parametrize("poison", [1, 2, 7], ids=lambda number: f"{number} of 7")
def test_the_refused_ones_are_set_aside_also_when_they_come_first(recorder: Recorder, ours: Door, poison: int) -> None:
    ours.answers = refusing("my.poison")
    for _ in range(poison):
        recorder.record("my.poison", {}, {}, None)
    recorder.record("my.event", {}, {}, None)
    assert send(recorder, ours)

    assert ours.names == ["my.event"]
    assert open_tape(recorder.folder).ledger().rejected == poison


@pytest.mark.parametrize("poison", [50, 450])  # more than make a server look wrong, and than one that takes others
def test_many_refused_ones_in_a_row_stall_nothing_where_the_collector_takes_others(
    recorder: Recorder, ours: Door, poison: int
) -> None:
    ours.answers = refusing("my.poison")
    for name in ["my.event"] * 500 + ["my.poison"] * poison + ["my.event"]:
        recorder.record(name, {}, {}, None)
    assert send(recorder, ours)

    assert len(ours.events) == 501
    ledger = open_tape(recorder.folder).ledger()
    assert (ledger.recorded, ledger.pending, ledger.rejected) == (501 + poison, 501, poison)


def test_a_collector_that_was_not_there_yet_when_it_was_first_asked_gets_whole_lines(
    recorder: Recorder, foreign: Door
) -> None:
    foreign.answers = lambda body: (404, {})  # a proxy, and nobody behind it
    recorder.record("tinker.request.start", {"size": 1}, {}, None)
    recorder.flush()
    sender = sender_to(foreign)
    segment = Segment(recorder.path, sender.collector.address)
    assert segment.acquire()
    assert sender.send(segment, sender.read(segment)) > 0

    foreign.ours, foreign.answers = True, lambda body: (200, {})
    assert sender.send(segment, sender.read(segment)) == 0
    segment.release()
    assert foreign.names == ["tinker.request.start"]


def test_a_collector_of_ours_that_was_not_seen_to_be_one_gets_everything_whole_once_it_is(
    recorder: Recorder, foreign: Door
) -> None:
    foreign.answers = lambda body: (200, {"Tinkertape-Collector": "1"})  # a proxy had answered for it
    for name in ("tinker.request.start", "clock.tick", "my.event"):
        recorder.record(name, {"size": 1}, {}, None)
    assert send(recorder, foreign)

    assert ["tape" in body for body in foreign.bodies] == [False, True]
    assert [event["event_name"] for event in foreign.bodies[1]["events"]] == [
        "tinker.request.start",
        "clock.tick",
        "my.event",
    ]


@pytest.mark.parametrize("status", [400, 404, 500], ids=str)
def test_a_server_that_refuses_everything_loses_nothing(recorder: Recorder, ours: Door, status: int) -> None:
    ours.answers = lambda body: (status, {})
    for _ in range(60):
        recorder.record("my.event", {}, {}, None)
    assert not send(recorder, ours)

    assert not list(recorder.folder.glob("*.refused"))
    assert open_tape(recorder.folder).ledger().pending == 60
    ours.answers = lambda body: (200, {})
    assert send(recorder, ours)
    assert len(ours.events) == 60


def test_a_refused_event_with_nothing_after_it_waits_for_the_next_one(recorder: Recorder, ours: Door) -> None:
    ours.answers = refusing("my.poison")
    recorder.record("my.poison", {}, {}, None)
    assert not send(recorder, ours)
    assert open_tape(recorder.folder).ledger().rejected == 0

    recorder.record("my.event", {}, {}, None)
    assert send(recorder, ours)
    assert open_tape(recorder.folder).ledger().rejected == 1


def test_a_poison_event_at_the_end_of_a_segment_is_settled_by_what_the_next_one_holds(
    tmp_path: Path, ours: Door
) -> None:
    ours.answers = refusing("my.poison")
    run = new_ulid()
    recorder = Recorder(tmp_path / "tapes" / run, run, segment_max=1_000)
    first = recorder.path
    recorder.record("my.poison", {}, {"padding": "x" * 2_000}, None)
    recorder.flush()
    wait_until(lambda: compressed_path(first).exists() and not first.exists())  # held by nobody any more
    recorder.record("my.event", {}, {}, None)
    assert send(recorder, ours)
    recorder.close()

    assert ours.names == ["my.event"]
    assert open_tape(recorder.folder).ledger().rejected == 1


def test_what_was_refused_at_the_end_of_an_earlier_run_is_settled_by_what_a_later_one_sends(
    tmp_path: Path, recorder: Recorder, ours: Door
) -> None:
    ours.answers = refusing("my.poison")
    earlier = Recorder(recorder.folder.parent / (run := new_ulid()), run)
    earlier.record("my.poison", {}, {}, None)
    earlier.close()
    delivery = Delivery(recorder.folder, ours.url)
    delivery.start()
    wait_until(lambda: ours.requests >= 1)
    assert open_tape(earlier.folder).ledger().rejected == 0
    recorder.record("my.event", {}, {}, None)
    wait_until(lambda: open_tape(earlier.folder).ledger().rejected == 1)
    delivery.close()

    assert ours.names == ["my.event"]


def test_what_one_collector_refused_another_may_take(recorder: Recorder, ours: Door, foreign: Door) -> None:
    ours.answers = refusing("my.poison")
    for name in ("my.event", "my.poison", "my.last"):
        recorder.log(name, {})
    assert send(recorder, ours)
    assert open_tape(recorder.folder).ledger().rejected == 1
    assert send(recorder, foreign)

    assert foreign.names == ["my.event", "my.poison", "my.last"]
    assert open_tape(recorder.folder).ledger().rejected == 0
    assert send(recorder, ours)
    assert ours.names == ["my.event", "my.last"]  # what it has it is not sent again


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_delivery_and_is_said_once(
    recorder: Recorder, ours: Door, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    ours.answers = lambda body: (status, {})
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url, key="k")
    delivery.start()
    wait_until(lambda: "refused the key" in caplog.text)
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    assert delivery.drain(5.0) is False
    assert delivery.close(5.0) is False

    assert ours.requests == 1
    assert caplog.text.count("refused the key") == 1
    assert open_tape(recorder.folder).ledger().pending == 2


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "nan"}, 0.0),
        ({"Retry-After": "1e300"}, RETRY_AFTER_MAX_S),
        ({"Retry-After": "Sat, 28 Nov 2026 21:00:30 GMT", "Date": "Sat, 28 Nov 2026 21:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sat, 28 Nov 2026 20:00:00 GMT", "Date": "Sat, 28 Nov 2026 21:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sat, 28 Nov 2026 21:00:30 GMT"}, None),
        ({"Retry-After": "Sat, 28 Nov 2026 21:00:30", "Date": "Sat, 28 Nov 2026 21:00:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_understood_as_seconds_and_as_a_date(headers: dict[str, str], wait_s: float | None) -> None:
    message = email.message.Message()
    for name, value in headers.items():
        message[name] = value
    response = cast(http.client.HTTPResponse, type("Response", (), {"getheader": staticmethod(message.get)}))

    assert retry_after_s(response) == wait_s


def test_a_collector_s_wish_is_waited_for_and_a_failure_without_one_longer_each_time(ours: Door) -> None:
    sender = sender_to(ours)

    assert 7.0 <= sender.back_off("HTTP 503", 7.0) <= 7.7
    grown = [sender.back_off("HTTP 503") for _ in range(12)]
    assert all(0.5 * 2**number <= wait_s <= 1.0 * 2**number for number, wait_s in enumerate(grown[:4]))
    assert all(BACKOFF_MAX_S / 2 <= wait_s <= BACKOFF_MAX_S for wait_s in grown[6:])
    assert len(set(grown)) == 12


def test_delivery_waits_as_long_as_the_collector_says(recorder: Recorder, ours: Door) -> None:
    ours.answers = lambda body: (503, {"Retry-After": "600"})
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url)
    delivery.start()
    wait_until(lambda: delivery._sender.failed == 1)  # it has read the answer
    ours.answers = lambda body: (200, {})
    assert delivery.drain(60.0) is False  # at once: it waits, and whoever ends the program does not
    delivery.close(0.0)

    assert ours.events == [] or ours.requests == 2  # the end of the program is worth one more try


def test_x_should_retry_is_believed(recorder: Recorder, ours: Door) -> None:
    calls = iter([(400, {"x-should-retry": "true", "Retry-After": "0"}), (200, {})])
    ours.answers = lambda body: next(calls)
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url)
    delivery.start()
    wait_until(lambda: ours.names == ["my.event"])
    delivery.close()

    assert open_tape(recorder.folder).ledger().rejected == 0


def test_a_body_is_packed_when_the_server_says_that_it_takes_that(recorder: Recorder, ours: Door) -> None:
    ours.takes_gzip = True
    for number in range(100):
        recorder.record("my.event", {"number": number}, {"padding": "x" * 100}, None)
    assert send(recorder, ours)
    recorder.record("my.small", {}, {}, None)
    assert send(recorder, ours)

    assert [headers.get("Content-Encoding") for headers in ours.headers] == ["gzip", None]
    assert [event["measurements"]["number"] for event in ours.events[:100]] == list(range(100))
    assert int(ours.headers[0]["Content-Length"]) < 100 * 100


def test_a_server_that_says_gzip_and_does_not_take_it_is_sent_plain_bodies(recorder: Recorder, ours: Door) -> None:
    ours.takes_gzip = True
    asked: list[str | None] = []
    collector = Collector(ours.url)
    assert collector.is_ours()
    ours.answers = lambda body: (415, {}) if (asked.append(None) or len(asked) == 1) else (200, {})
    body = b'{"events":[],"padding":"' + b"x" * 5_000 + b'"}'

    assert [collector.post(body).status for _ in range(2)] == [200, 200]
    assert [headers.get("Content-Encoding") for headers in ours.headers] == [None, None]


def test_all_bodies_go_over_one_connection_of_its_own(recorder: Recorder, ours: Door) -> None:
    for number in range(2_000):
        recorder.record("my.event", {"number": number}, {"padding": "x" * 2_000}, None)
    assert send(recorder, ours)

    assert ours.requests >= 4
    assert len(ours.connections) == 1


def test_nothing_of_it_runs_in_the_program_s_thread_or_is_an_event(recorder: Recorder, ours: Door) -> None:
    threads: set[str] = set()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str]]:
        threads.update(thread.name for thread in threading.enumerate())
        return 200, {}

    ours.answers = answer
    with captured_events() as events:
        recorder.record("my.event", {}, {}, None)
        assert send(recorder, ours)

    assert "tinkertape-delivery" in threads
    assert events.names == []


def test_the_program_s_random_numbers_are_left_alone(recorder: Recorder, ours: Door) -> None:
    ours.answers = lambda body: (503, {"Retry-After": "0"} if ours.requests < 3 else {})
    random.seed(7)
    before = random.getstate()
    recorder.record("my.event", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url)
    delivery.start()
    wait_until(lambda: ours.requests >= 3)
    delivery.close()

    assert random.getstate() == before


def test_no_wall_clock_is_read() -> None:
    room = Path(tinkertape.delivery.__file__).parent
    clocks = ("time.time", "datetime.now", "utcnow", "formatdate")
    told = [path.name for path in room.glob("*.py") for clock in clocks if clock in path.read_text()]

    assert told == []


def test_a_disk_that_takes_no_mark_has_nothing_sent_twice(
    recorder: Recorder, ours: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tinkertape.delivery.segments.write_mark", full)
    recorder.record("my.first", {}, {}, None)
    recorder.flush()
    delivery = Delivery(recorder.folder, ours.url, flush_interval_s=0.0)
    delivery.start()
    assert delivery.drain(10.0)
    monkeypatch.undo()
    recorder.record("my.second", {}, {}, None)
    recorder.flush()
    assert delivery.close(10.0)

    assert ours.names == ["my.first", "my.second"]
    [mark] = recorder.folder.glob("*.ack")
    assert json.loads(mark.read_bytes())["events"] == 2


def test_a_server_that_hangs_is_given_up_after_its_time(ours: Door) -> None:
    collector = Collector(ours.url, timeout_s=0.2)
    collector.is_ours()
    ours.answers = lambda body: (time.sleep(1.0), (200, {}))[1]  # type: ignore[func-returns-value]

    with pytest.raises(DeliveryError, match="timed out"):
        collector.post(b'{"events":[]}')


def test_an_answer_that_comes_a_byte_at_a_time_is_given_up_after_its_time() -> None:
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), connection:
            for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX-Slowly: ", itertools.repeat(ord("x"))):
                connection.sendall(bytes([byte]))
                if ended.wait(0.02):
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        collector = Collector(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3)
        with pytest.raises(DeliveryError, match="timed out"):
            collector.is_ours()
        ended.set()
