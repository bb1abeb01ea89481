"""The pages as plain HTML: what is said without a script, and what an answer carries."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.dashboard.fake_source import SICK, FakeSource
from tests.dashboard.made_runs import made_row, made_run
from tests.dashboard.worlds import hostile, hostile_run

import tinkertape.dashboard
from tinkertape import figures
from tinkertape.dashboard import routes
from tinkertape.dashboard.report import report_of, row_of
from tinkertape.dashboard.runs_page import headline, runs_page

ROOM = Path(tinkertape.dashboard.__file__).parent
RUNS = [SICK, "hostile", "long", "paused", "failed", "early"]


def text_of(html: str) -> str:
    return re.sub(r"[ \n\u00a0]+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<(script|svg).*?</\1>", "", html, flags=re.S)))


def said(page) -> str:
    return "".join(stretch.text for stretch in page)


@pytest.mark.parametrize("path", ["/", *(f"/runs/{run}" for run in RUNS), "/runs/nobody"])
def test_every_page_forbids_what_is_inline_or_foreign(client, path):
    answer = client.get(path)

    assert answer.headers["content-security-policy"] == (
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    html = re.sub(r">[^<]*", ">", re.sub(r'"[^"]*"', '""', answer.text))  # without any text or value
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html)
    assert re.findall(r"<script(?! src=| type=.)[^>]*>", answer.text) == []
    assert "<style" not in answer.text


@pytest.mark.parametrize("path", ["/", *(f"/runs/{run}" for run in RUNS)])
def test_no_id_stands_twice_on_a_page(client, path):
    html = re.sub(r'<script type="application/json".*?</script>', "", client.get(path).text, flags=re.S)
    ids = re.findall(r'\sid="([^"]*)"', html)

    assert len(ids) == len(set(ids))


def test_the_answer_shares_findings_steps_pauses_errors_tape_and_ledger_need_no_script(client):
    text = text_of(client.get(f"/runs/{SICK}").text)

    for words in (
        "It is Tinker. It paused this run for 47\u202fs at step 12",
        "Not the cause: 1 user error",
        "capacity-pause step 12",
        "≈\u202f47.0\u202fs",
        "46.4 to 47.6\u202fs",
        "RequestFailedError",
        "Datum 3 is too long",
        "tinker.sampling.sample.stop",
        "2\u202f418 recorded = 2\u202f418 stored + 0 pending + 0 rejected + 0 dropped",
    ):
        assert words in text, words


def test_the_steps_stand_in_a_table(client):
    html = client.get(f"/runs/{SICK}").text

    assert len(re.findall(r'<tr data-key="row \d+"', html)) == 30


def test_a_run_that_is_not_here_says_what_to_do(client):
    answer = client.get("/runs/01KASW3")

    assert answer.status_code == 404
    assert "haiku-lora" in answer.text
    assert client.get("/runs/nobody%2Fat<all>").status_code == 404
    assert "tinkertape runs" in client.get("/runs/nobody").text


def test_a_report_that_cannot_be_read_is_one_line_and_not_a_traceback():
    broken = made_run(run="broken", steps=2) | {"wall_s": "soon"}
    answer = TestClient(Starlette(routes=routes(FakeSource([broken])))).get("/runs/broken")

    assert answer.status_code == 500
    assert "wall_s" in answer.text and "Traceback" not in answer.text


def test_a_report_with_nothing_but_its_id_is_a_page():
    bare = {"run": "bare", "state": "running", "ledger": {"recorded": 0, "stored": 0, "pending": 0, "rejected": 0}}
    source = FakeSource([bare])
    source.events["bare"] = [{}]

    assert TestClient(Starlette(routes=routes(source))).get("/runs/bare").status_code == 200


def test_without_runs_the_list_says_how_to_record_one():
    answer = TestClient(Starlette(routes=routes(FakeSource()))).get("/")

    assert "No runs yet" in answer.text and "tinkertape run train.py" in answer.text


def test_hostile_text_is_text_in_the_list_too():
    row = hostile(made_row(hostile_run())) | {"run": "a/../b?c#d\u202e"}
    source = FakeSource()
    source.runs = lambda limit=100, before=None: [row]  # type: ignore[method-assign]
    html = TestClient(Starlette(routes=routes(source))).get("/").text

    assert "<script>window" not in html and "&lt;script&gt;window" in html
    assert 'href="/runs/a%2F..%2Fb%3Fc%23d%E2%80%AE"' in html


def test_the_own_files_may_be_kept_for_ever_under_their_digest(client):
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/").text)

    assert len(addresses) >= 7
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert "immutable" not in client.get("/static/older/page.css").headers["cache-control"]
    assert client.get("/static/x/../pages.py").status_code == 404
    assert client.get("/static/x/%2e%2e%2fpages.py").status_code == 404


def test_colours_are_named_in_one_file():
    files = [path for path in ROOM.rglob("*") if path.suffix in (".css", ".js", ".html", ".py")]
    named = re.compile(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b(?![\w-])|\brgb\(|\bhsl\(")
    found = {path.name for path in files if named.search(re.sub(r"&#\d+;", "", path.read_text(encoding="utf-8")))}

    assert found == {"theme.css"}


def test_no_module_writes_markup():
    for path in (ROOM / "static").rglob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text())


def test_live_runs_come_first_then_days_newest_first():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    rows = [
        row_of({"run": run, "state": state, "began": began, "ended": began})
        for run, state, began in (
            ("a", "ended", "2026-11-23T10:00:00Z"),
            ("b", "running", "2026-11-20T10:00:00Z"),
            ("c", "failed", "2026-11-24T10:00:00Z"),
            ("d", "ended", "2026-11-24T11:00:00Z"),
            ("e", "killed", "2026-11-02T11:00:00Z"),
        )
    ]
    page = runs_page(rows, now)

    assert [(group.title, [line.row.run for line in group.lines]) for group in page.groups] == [
        ("Live", ["b"]),
        ("Today", ["d", "c"]),
        ("Yesterday", ["a"]),
        ("2 November", ["e"]),
    ]
    assert page.columns == frozenset()  # no column without data


def test_the_headline_says_whom_the_live_runs_wait_for():
    live = {"state": "running", "began": "2026-11-24T10:00:00Z", "healthy": True}
    waits = {"healthy": False, "finding": {"cause": "capacity-pause", "owner": "service"}}
    own = {"healthy": False, "finding": {"cause": "user-error", "owner": "you"}}
    early = {"healthy": False, "lead": "Too early to say:"}

    assert said(headline([row_of({"run": "a", **live})])) == "1 run live: healthy."
    assert said(headline([row_of({"run": "a", **live}), row_of({"run": "b", **live})])) == "2 runs live: all healthy."
    assert (
        said(
            headline(
                [
                    row_of({"run": "a", **live}),
                    row_of({"run": "b", **live, **waits}),
                    row_of({"run": "c", **live, **own}),
                ]
            )
        )
        == "3 runs live: 1 healthy. 1 waits for Tinker, 1 for its own code."
    )
    assert said(headline([row_of({"run": "a", **live, **early})])) == "1 run live: 1 too early to say."
    ended = row_of({"run": "a", "name": "haiku", "state": "ended", "began": "2026-11-24T10:00:00Z", "healthy": True})
    assert said(headline([ended])) == "1 run, none live. The newest, haiku, ended and was healthy."


def page_of(report) -> str:
    return TestClient(Starlette(routes=routes(FakeSource([report])))).get(f"/runs/{report['run']}").text


def test_requests_that_were_held_at_once_are_one_pause():
    report = made_run("two", pause_at=5)
    (pause,) = report["pauses"]
    report["pauses"] = [{**pause, "pause": 1}, {**pause, "pause": 1, "operation": "optim_step", "request_id": "other"}]
    text = text_of(page_of(report))

    assert "1 pause, 2 requests, as a table" in text
    assert "forward_backward, optim_step" in text


def test_what_of_the_cost_lies_in_send_is_said_in_the_head_of_the_findings():
    report = made_run("errors", pause_at=5, slow_from=12)
    report["findings"][-1]["evidence"]["figures"]["in_send_s"] = 1.3

    assert "1.3\u202fs of it in send" in text_of(page_of(report))


def test_what_was_lost_and_waited_at_once_counts_once():
    report = made_run("twice", pause_at=5)
    finding = report["findings"][0]
    wall = report["wall_s"]
    at_once = {**finding, "cost_s": wall * 0.7, "evidence": {**finding["evidence"], "began_s": 1.0, "ended_s": wall}}
    report["findings"] = [at_once, at_once]
    report["retries"] = [
        {"at_s": 9.0, "operation": name, "delay_s": 4.0} for name in ("optim_step", "forward_backward")
    ]
    text = text_of(page_of(report))

    assert f"together ≤{figures.THIN}{figures.seconds(wall)} of {figures.seconds(wall)}" in text
    assert f"{figures.seconds(4.0)} spent backing off" in text


def test_a_run_that_only_the_sdk_told_of_is_not_called_healthy():
    row = {"run": "a", "name": "plain", "state": "ended", "began": "2026-11-24T10:00:00Z", "events": 3, "parts": {}}
    rows = [row_of({**row, "steps": 0})]

    assert said(headline(rows)) == "1 run, none live. The newest, plain, ended."
    source = FakeSource()
    source.runs = lambda *_: [{**row, "steps": 0}]
    text = text_of(TestClient(Starlette(routes=routes(source))).get("/").text)
    assert "cannot say" in text and "healthy" not in text


def test_a_part_whose_bounds_read_alike_is_not_called_bounded():
    part = {"part": "compute", "owner": "service", "seconds": 4.3, "quality": "bounded", "max_s": 4.3}

    known = [
        report_of({"run": "a", "parts": [{**part, "min_s": least}]}).parts[0].quality for least in (4.29, 4.0, None)
    ]

    assert known == ["measured", "bounded", "bounded"]


@pytest.mark.parametrize(
    ("lead", "state", "mark"),
    [
        ("Healthy, as far as this run shows:", "ended", "none"),
        ("No Tinker call was recorded.", "ended", "unknown"),
        ("Cannot say:", "ended", "unknown"),
        ("Killed", "killed", "killed"),
    ],
)
def test_only_what_is_known_to_be_well_is_ticked(lead, state, mark):
    report = made_run("lora", "a", steps=3)
    verdict = {"owner": "none", "lead": lead, "sentence": "", "under": "", "well": lead.startswith("Healthy")}

    html = page_of({**report, "state": state, "verdict": verdict})

    assert f'href="#g-{mark}"' in html[html.index('id="verdict"') :].partition("</p>")[0]


def test_a_run_without_a_call_is_not_called_healthy():
    row = {"run": "a", "name": "hello", "began": "2026-11-24T10:00:00Z", "events": 9, "parts": {"idle": 0.05}}
    ended, live = ({**row, "state": state} for state in ("ended", "running"))

    assert said(headline([row_of(ended)])) == "1 run, none live. The newest, hello, ended; no Tinker call was recorded."
    assert said(headline([row_of(live)])) == "1 run live: 1 without a Tinker call yet."
    source = FakeSource()
    source.runs = lambda *_: [ended]
    text = text_of(TestClient(Starlette(routes=routes(source))).get("/").text)
    assert "no Tinker call" in text and "healthy" not in text


def test_the_list_says_where_and_how_long_before_it_runs_out_of_room():
    finding = {"cause": "capacity-pause", "owner": "service", "summary": "The service kept …", "cost_s": 2.4}
    row = {"run": "a", "state": "ended", "began": "2026-11-24T10:00:00Z"}
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    found = [
        runs_page([row_of({**row, "finding": each})], now).groups[0].lines[0].found
        for each in (
            finding,
            {**finding, "steps": [8]},
            {**finding, "steps": [8, 9]},
            {**finding, "steps": [8], "estimate": True},
        )
    ]

    assert [figures.plain(each) for each in found] == [
        "The service kept …",
        "2.4 s at step 8",
        "2.4 s at steps 8 to 9",
        "≈ 2.4 s at step 8",
    ]


def test_the_page_of_a_run_that_only_the_sdk_told_of_says_what_it_cannot_say():
    report = made_run("plain")
    report.update(parts=[], operations=[], steps=[], spans=[], findings=[], errors=[], pauses=[], loss=[])
    report["owners"] = [
        {"owner": owner, "seconds": None, "share": 0.0, "role": "none", "say": "not recorded"}
        for owner in ("you", "network", "service", "idle")
    ]
    text = text_of(page_of(report))

    for words in ("You – not recorded", "Where each step went not recorded", "The SDK told of no error"):
        assert words in text, text
    for words in ("No errors", "No retries", "yet", "no error of yours"):
        assert words not in text.partition("Tape")[0], words


def test_what_an_owner_had_carries_the_mark_of_its_parts():
    report = made_run("about")
    text = figures.plain(text_of(page_of(report)))
    for part in report["parts"]:
        part["quality"] = "measured" if part["owner"] == "network" else "inferred"
    marked = figures.plain(text_of(page_of(report)))

    assert "Tinker ≈" not in text
    assert "Tinker ≈" in marked
    assert "You ≈" in marked
    assert "Network ≈" not in marked


def test_a_run_of_several_models_says_how_many_steps_each_took():
    models = [{"model_id": "a", "steps": 30, "is_main": True}, {"model_id": "b", "steps": 12, "is_main": False}]
    report = made_run("two")

    assert "30 steps" in text_of(page_of(report)) and "models" not in text_of(page_of(report))
    assert "2 models: 30 + 12 steps" in text_of(page_of({**report, "models": models}))


def test_the_exit_status_stands_beside_the_state_where_it_is_not_0():
    report = made_run("left", error_at=3) | {"state": "failed"}

    assert "Failed exit status 3" in text_of(page_of(report | {"exit_status": 3}))
    assert "exit status" not in text_of(page_of(report | {"exit_status": 0}))


def test_a_failure_of_nobodys_has_no_check_mark():
    report = made_run("left", error_at=3) | {"state": "failed"}
    for told in (report["verdict"], *report["errors"], *report["findings"]):
        told["owner"] = "none"
    content = page_of(report).partition('id="verdict"')[2].partition("Tape")[0]

    assert report["errors"] and 'href="#g-failed"' in content
    assert 'href="#g-none"' not in content


def test_a_run_that_ended_without_an_optim_step_is_told_in_calls():
    text = text_of(page_of(made_run("evaluation") | {"steps": [], "usual_step_s": None, "loss": []}))

    assert re.search(r"Qwen3-8B \d+ calls ", text)
    assert "no step: no optim_step was called" in text


def test_a_run_without_steps_has_no_rate_of_them_in_the_list():
    lines = [
        runs_page([row_of({"run": "a", "state": "killed", "wall_s": 4.0, "steps": steps})], datetime.now(UTC))
        .groups[0]
        .lines[0]
        for steps in (0, 2)
    ]

    assert [(line.steps, line.rate) for line in lines] == [("0", ""), ("2", "0.50 steps/s")]
