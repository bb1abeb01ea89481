"""What the collector answers about runs."""

from __future__ import annotations

import http.client
import json
import re
import threading
import urllib.parse

import msgspec
import pytest
from tests.collector.conftest import NOTHING, Served, WrittenTape, paths_below, wire_body, wire_event
from tests.waiting import wait_until

from tinkertape.collector.identity import safe_run
from tinkertape.diagnosis.report import Report
from tinkertape.tape.format import encode_line

HOSTILE = [
    "../../../etc/passwd",
    "a'b\"c\\d",
    "<script>alert(1)</script>",
    "{x:String}",
    "é🙂\u2028",
    "%00",
    "a b\tc",
    "foo/events",
    "a\n\x00\x1b[2J",
    ".",
]


def row_of(served: Served, run: str) -> dict[str, object]:
    return wait_until(
        lambda: next((row for row in served.json("/api/v1/runs?limit=1000") if row["run"] == run), None), within_s=20
    )


def test_a_collector_of_ours_says_so(served: Served):
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()

    assert (answer.status, answer.getheader("Tinkertape-Collector")) == (200, "1")


def test_a_run_is_in_the_list_with_its_figures(served: Served):
    tape = WrittenTape(served.tapes, name="lora-3")
    tape.append(4)
    tape.end()

    row = wait_until(lambda: (row := row_of(served, tape.run))["state"] == "ended" and row)

    assert {key: row[key] for key in ("name", "state", "status", "events", "findings")} == {
        "name": "lora-3",
        "state": "ended",
        "status": "success",
        "events": 4,
        "findings": 0,
    }
    assert set(row) >= {"run", "name", "state", "began", "ended", "sessions", "events", "steps", "findings"}


def test_the_list_is_read_page_by_page_newest_first(served: Served):
    for _ in range(3):
        tape = WrittenTape(served.tapes)
        tape.append(1)
        tape.end()
        row_of(served, tape.run)
    everything = [row["run"] for row in served.json("/api/v1/runs?limit=1000")]
    met: list[str] = []
    before = ""

    while page := served.json(f"/api/v1/runs?limit=2&before={urllib.parse.quote(before)}"):
        met += [row["run"] for row in page]
        before = page[-1]["cursor"]

    assert met == everything
    assert met[0] == tape.run


def test_a_runs_page_is_a_whole_report(served: Served):
    tape = WrittenTape(served.tapes, name="whole")
    tape.append(3)
    served.settled(tape.run, 3)

    page = served.json(f"/api/v1/runs/{tape.run}")

    report = msgspec.convert(page["report"], Report)
    assert (report.run, report.name, report.events, page["run"]["run"]) == (tape.run, "whole", 3, tape.run)


def test_a_diagnosis_has_the_stable_shape(served: Served):
    tape = WrittenTape(served.tapes)
    tape.append(3)
    served.settled(tape.run, 3)

    diagnosis = served.json(f"/api/v1/runs/{tape.run}/diagnosis")

    assert set(diagnosis) == {"run", "healthy", "findings", "partition", "ledger"}
    assert diagnosis["healthy"] is False  # no Tinker call was recorded


def test_events_come_in_order_each_with_its_cursor_and_then_none(served: Served):
    tape = WrittenTape(served.tapes)
    tape.append(25)
    served.settled(tape.run, 25)

    lines = served.events(tape.run, limit=10)

    assert [line["event_session_index"] for line in lines] == list(range(25))
    assert len({line["cursor"] for line in lines}) == 25
    assert served.get(f"/api/v1/runs/{tape.run}/events?after={lines[-1]['cursor']}") == (200, b"")


def test_an_event_is_the_tapes_line_and_its_cursor(served: Served):
    tape = WrittenTape(served.tapes)
    line = encode_line(tape.event(request_id="r1"))
    tape.write(line)
    served.settled(tape.run, 1)

    [found] = served.events(tape.run)

    del found["cursor"]
    assert found == json.loads(line)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/runs/nope",
        "/api/v1/runs/nope/events",
        "/api/v1/runs/nope/diagnosis",
        "/api/v1/ledger?run=nope",
        "/api/v1/stream?run=nope",
    ],
)
def test_a_run_that_is_not_there_is_one_line(served: Served, path):
    assert served.get(path) == (404, b"no such run; /api/v1/runs lists them\n")


def test_a_run_that_only_began_is_there_and_has_a_ledger(served: Served):
    tape = WrittenTape(served.tapes)

    wait_until(lambda: served.get(f"/api/v1/ledger?run={tape.run}")[0] == 200)

    assert served.json(f"/api/v1/ledger?run={tape.run}") == NOTHING


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "limit=1e3",
        "limit=99999999999999999999",
        "after=9999999999999999999",
        "after=x'",
        "after=٣",
    ],
)
def test_a_parameter_that_is_no_number_is_one_line(served: Served, query):
    tape = WrittenTape(served.tapes)
    tape.append(1)
    served.settled(tape.run, 1)
    name = query.partition("=")[0]

    answer = served.get(f"/api/v1/runs/{tape.run}/events?{urllib.parse.quote(query, safe='=')}")

    assert answer == (400, f"{name} must be a whole number\n".encode())


@pytest.mark.parametrize(
    "before",
    ["zzz", "--5:x", "²:x", "٣:x", "9999999999999999999:x", "99999999999999999999:x", "-:x", ":x", "5\n:x", "\0"],
)
def test_a_cursor_that_is_none_is_one_line(served: Served, before):
    answer = served.get(f"/api/v1/runs?before={urllib.parse.quote(before)}")

    assert answer == (400, b"before must be the cursor of a run, or its id\n")


@pytest.mark.parametrize("before", ["5:", "-5:x", "9223372036854775807:a\nb", "0:%00"])
def test_any_cursor_is_a_place_in_the_list(served: Served, before):
    assert served.get(f"/api/v1/runs?before={urllib.parse.quote(before)}")[0] == 200


@pytest.mark.parametrize("run", ["%00", "%ff", "%ed%a0%80", "%27", "%5C", "x" * 10_000])
def test_a_run_of_odd_characters_is_not_there(served: Served, run):
    assert served.get(f"/api/v1/runs/{run}")[0] == 404
    assert served.get(f"/api/v1/runs/{run}/events")[0] == 404
    assert served.get(f"/api/v1/runs/{run}/diagnosis")[0] == 404
    assert served.get(f"/api/v1/ledger?run={run}")[0] == 404


@pytest.mark.parametrize("session_id", [".", "..", "foo/events", "foo", " ", "a\nb", "y" * 300 + "1", "y" * 300 + "2"])
def test_whatever_the_list_shows_is_found_under_its_id(served: Served, session_id):
    before = {row["run"] for row in served.json("/api/v1/runs?limit=1000")}
    served.post(wire_body(session_id, [wire_event(0)]))

    [run] = wait_until(lambda: {row["run"] for row in served.json("/api/v1/runs?limit=1000")} - before)

    assert served.json(f"/api/v1/runs/{run}")["run"]["run"] == run
    assert len(served.events(run)) == 1
    assert served.json(f"/api/v1/runs/{run}/diagnosis")["run"] == run


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_id_is_a_run_like_any_other_and_never_a_path(served: Served, session, text):
    run = f"{session}{text}"
    before = set(paths_below(served.folder.parent))
    body = wire_body(run, [wire_event(0, event_id=text, event_name=text)], process_uuid=text, sdk_version=text)

    served.post(body)

    safe = safe_run(run)
    served.settled(safe, 1)
    [line] = served.events(safe)
    assert (line["run"], line["event_id"], line["event_name"], line["process"]) == (safe, text, text, text)
    assert line["session_id"] == run
    assert served.json(f"/api/v1/runs/{safe}")["run"]["events"] == 1
    made = set(paths_below(served.folder.parent)) - before
    assert [path for path in made if not path.is_relative_to(served.store) and path.parent != served.inbox] == []


def test_the_metrics_are_prometheus_text(served: Served, session):
    served.post(wire_body(session, [wire_event(0)]))
    served.settled(session, 1)

    text = served.get("/metrics")[1].decode()

    sample = re.compile(r'tinkertape_collector_[a-z_]+(\{[a-z_]+="[^"]*"\})? [0-9.e+-]+')
    assert [line for line in text.splitlines() if not line.startswith("# ") and not sample.fullmatch(line)] == []
    assert 'tinkertape_collector_bodies_total{outcome="accepted"}' in text


def known(served: Served, tape: WrittenTape) -> WrittenTape:
    """The tape, once the collector has seen that it is there."""
    wait_until(lambda: served.get(f"/api/v1/ledger?run={tape.run}")[0] == 200, within_s=20)
    return tape


def test_who_looks_at_a_run_hears_that_it_grew(served: Served):
    tape = known(served, WrittenTape(served.tapes))
    news: list[dict[str, object]] = []
    listening = threading.Event()
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)

    def listen() -> None:
        connection.request("GET", f"/api/v1/stream?run={tape.run}")
        answer = connection.getresponse()
        while not (news and news[-1]["state"] == "ended"):
            line = answer.readline()
            listening.set()
            if line.startswith(b"data: "):
                news.append(json.loads(line[6:]))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert listening.wait(10)
    tape.append(3)
    wait_until(lambda: news and news[-1]["events"] == 3, within_s=20, otherwise=lambda: news)
    tape.append(2)
    tape.end()
    listener.join(timeout=20)

    assert news[-1] == {"run": tape.run, "events": 5, "state": "ended"}


def test_another_runs_news_are_not_told(served: Served):
    quiet, loud = known(served, WrittenTape(served.tapes)), WrittenTape(served.tapes)
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", f"/api/v1/stream?run={quiet.run}")
    answer = connection.getresponse()
    answer.readline()

    loud.append(5)
    served.settled(loud.run, 5)
    quiet.append(1)

    while not (line := answer.readline()).startswith(b"data: "):
        assert line
    assert json.loads(line[6:])["run"] == quiet.run
