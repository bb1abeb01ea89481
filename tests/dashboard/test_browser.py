"""The pages in a browser: hostile text, live without a reload, keys, themes, a telephone, accessibility."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.dashboard.conftest import Watched
from tests.dashboard.fake_source import LIVE, SICK, FakeSource, Served, healthy_live, sick
from tests.dashboard.made_runs import made_run
from tests.dashboard.worlds import HOSTILE
from tests.waiting import wait_until

from tinkertape import figures

AXE = Path(__file__).parents[1] / "vendor" / "axe-core" / "axe.min.js"
PAGES = ("/", *(f"/runs/{run}" for run in (SICK, LIVE, "paused", "failed", "long", "early", "hostile", "nobody")))
WIDE = {"width": 1440, "height": 900}


def drawn(page) -> bool:
    """Has the timeline painted anything?"""
    return page.evaluate(
        """() => { const c = document.querySelector('#lanes canvas'); if (!c || !c.width) return false;
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((value) => value); }"""
    )


def address(page) -> str:
    """Asked of the page itself: `page.url` stays what it was while nothing else asks the browser."""
    return page.evaluate("location.href")


def range_of(page) -> str:
    return page.inner_text("#range")


@pytest.fixture(scope="module", params=PAGES)
def opened(server: Served, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """Each page of the server, opened once; a test may make it narrow or dark."""
    page = browser.new_page(viewport=WIDE, reduced_motion="reduce")
    watched = Watched(page)
    page.goto(server.url + request.param)
    if request.param.startswith("/runs/") and request.param not in ("/runs/nobody", "/runs/early"):
        wait_until(lambda: drawn(page))
    yield watched
    page.close()


def test_a_page_opens_without_a_complaint_and_asks_nobody_else(server, opened):
    is_nobody = opened.page.url.endswith("/nobody")

    assert [wrong for wrong in opened.wrong if "404" not in wrong or not is_nobody] == []
    assert all(request.startswith(server.url) for request in opened.requests)


def test_a_telephone_needs_no_sideways_scrolling(opened):
    opened.page.set_viewport_size({"width": 390, "height": 844})
    width = opened.page.evaluate("document.scrollingElement.scrollWidth")
    opened.page.set_viewport_size(WIDE)

    assert width <= 390


@pytest.mark.parametrize(("theme", "rules"), [("light", None), ("dark", ["color-contrast"])])
def test_axe_finds_nothing(opened, theme, rules):
    """In the dark only the colours are others."""
    page = opened.page
    page.evaluate("(theme) => document.documentElement.dataset.theme = theme", theme)
    page.evaluate(f"window.axe || (() => {{ {AXE.read_text(encoding='utf-8')} }})()")
    found = page.evaluate("async (rules) => (await axe.run(rules ? {runOnly: rules} : {})).violations", rules)
    told = [
        (one["id"], node["html"][:160], node.get("failureSummary", "")[:300])
        for one in found
        for node in one["nodes"][:3]
    ]

    assert told == []


def test_hostile_text_stays_text_in_every_field_also_when_it_arrives_live(own, watched):
    report = made_run(run=LIVE, steps=12, live=True)
    own.source.put(report)
    watched.page.goto(f"{own.url}/runs/{LIVE}")
    watched.page.wait_for_selector("#live:not([hidden])")
    evil = copy.deepcopy(hostile_live())
    own.source.put(evil)
    wait_until(lambda: watched.page.evaluate("document.querySelector('h1').textContent.includes('<script>')"))
    canvas = watched.page.locator("#lanes canvas")
    for x in range(20, 1000, 60):
        canvas.hover(position={"x": x, "y": 60})
    for column in watched.page.locator("a.col").all():
        column.hover(force=True)

    assert watched.page.evaluate("window.ran") is None
    assert watched.page.evaluate("document.querySelectorAll('img').length") == 0
    assert watched.page.inner_text("h1").startswith("<script>window.ran = 1;")
    assert "\\u202eevil\\u0000\\u0007\\u001b[31m" in watched.page.inner_text("h1")
    assert "7*7" in watched.page.title() and watched.wrong == []


def hostile_live() -> dict[str, Any]:
    from tests.dashboard.worlds import hostile_run  # noqa: PLC0415  (read once, here)

    return hostile_run() | {"run": LIVE, "state": "running", "ended": None}


def test_a_run_goes_on_without_a_reload_and_keeps_what_a_person_did(own, watched):
    own.source.put(healthy_live(6))
    page = watched.page
    page.goto(f"{own.url}/runs/{LIVE}")
    page.wait_for_selector("#live:not([hidden])")
    page.evaluate("window.here = true")
    page.click("summary:has-text('as tables')")
    page.focus("a.col")
    own.source.put(healthy_live(9))
    wait_until(lambda: page.evaluate("document.querySelectorAll('a.col').length === 9"))

    assert page.evaluate("window.here") is True
    assert page.evaluate("document.activeElement.dataset.step") == "1"
    assert page.locator("details[data-key=tables]").get_attribute("open") is not None
    assert page.locator("tr[data-key^='row ']").count() == 9
    wait_until(lambda: drawn(page))
    assert watched.wrong == []


def test_what_is_spoken_is_the_answer_and_only_when_it_changes(own, watched):
    own.source.put(healthy_live(6))
    page = watched.page
    page.goto(f"{own.url}/runs/{LIVE}")
    page.wait_for_selector("#live:not([hidden])")
    own.source.put(healthy_live(7))
    wait_until(lambda: page.evaluate("document.querySelectorAll('a.col').length === 7"))
    quiet = page.inner_text("#spoken")
    paused = healthy_live(7) | {"state": "paused"}
    paused["verdict"] = {"owner": "service", "lead": "Waiting for Tinker", "sentence": "for 12 s.", "under": ""}
    own.source.put(paused)
    wait_until(lambda: page.evaluate("document.title.startsWith('Paused · haiku-lora-2')"))

    assert quiet == ""
    assert page.inner_text("#spoken") == "Paused. Waiting for Tinker 0 findings."


def test_the_list_gains_a_run_without_a_reload(own, watched):
    page = watched.page
    page.goto(own.url)
    page.wait_for_selector("#live:not([hidden])")
    page.evaluate("window.here = true")
    own.source.put(healthy_live(6))
    page.wait_for_selector("a.name:has-text('haiku-lora-2')")

    assert page.evaluate("window.here") is True
    assert page.inner_text("#verdict") == "1 run live: healthy."
    assert watched.wrong == []


def test_a_page_holds_while_the_collector_is_away_and_goes_on_when_it_is_back(watched):
    source = FakeSource([healthy_live(6)])
    first = Served(source)
    page = watched.page
    page.goto(f"{first.url}/runs/{LIVE}")
    page.wait_for_selector("#live:has-text('Live')")
    first.close()
    page.wait_for_selector("#held:not([hidden])")
    held = page.inner_text("#live")
    steps = page.locator("a.col").count()
    source.reports[LIVE] = healthy_live(8)
    second = Served(source, first.port)
    wait_until(lambda: page.evaluate("document.querySelectorAll('a.col').length === 8"), within_s=20)
    page.wait_for_selector("#held", state="hidden")
    again = page.inner_text("#live")
    second.close()

    assert re.match(r"Held at \d\d:\d\d:\d\d", held) and steps == 6
    assert again == "Live"


def test_an_ended_run_holds_no_connection(server, watched):
    watched.page.goto(f"{server.url}/runs/{SICK}")
    wait_until(lambda: drawn(watched.page))

    assert not [request for request in watched.requests if "/stream" in request]


def test_a_step_and_a_finding_lead_to_the_timeline_and_back_undoes_it(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}")
    wait_until(lambda: drawn(page))
    whole = range_of(page)
    page.keyboard.press("n")
    wait_until(lambda: range_of(page) != whole)
    pause = range_of(page)
    page.keyboard.press("n")
    wait_until(lambda: range_of(page) not in (whole, pause))
    page.go_back()
    wait_until(lambda: range_of(page) == pause)
    page.go_back()
    wait_until(lambda: range_of(page) == whole)
    page.focus("a.col")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_until(lambda: "step=2" in address(page))

    assert page.evaluate("document.activeElement.dataset.step") == "2"


def test_an_address_with_a_step_opens_on_it(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}#step=12")
    wait_until(lambda: drawn(page))

    assert range_of(page).endswith("\u202fs") and "min" not in range_of(page)


def test_the_timeline_is_moved_and_zoomed_with_keys(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}")
    wait_until(lambda: drawn(page))
    seen = [range_of(page)]
    for key in ("+", "ArrowRight", "ArrowLeft", "-", "+", "0"):
        page.keyboard.press(key)
        wait_until(lambda: range_of(page) != seen[-1], otherwise=lambda: key)  # noqa: B023
        seen.append(range_of(page))

    assert seen[-1] == seen[0]


def test_the_overview_is_brushed(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}")
    wait_until(lambda: drawn(page))
    whole, box = range_of(page), page.locator("#overview").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 420, box["y"] + 10, steps=4)
    page.mouse.up()
    wait_until(lambda: range_of(page) != whole)
    brushed = range_of(page)
    page.mouse.dblclick(box["x"] + 600, box["y"] + 10)
    wait_until(lambda: range_of(page) != brushed)

    assert range_of(page) == whole


def test_hovering_tells_the_parts(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}")
    wait_until(lambda: drawn(page))
    page.locator("a.col[data-step='20']").hover()
    tip = page.inner_text(".tip")

    assert "Step 20" in tip and "above usual" in tip and "≈" in tip


def test_the_tape_is_filtered_and_the_filter_cleared(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}")
    page.keyboard.press("/")
    page.keyboard.type("save_state")
    shown = page.locator("#tape li:visible").count()
    said = page.inner_text("#hits")
    page.keyboard.press("Escape")

    assert 0 < shown < 20 and said.startswith(f"{shown} of ")
    assert page.locator("#tape li:visible").count() > 100


def test_the_list_is_used_with_keys_alone(many, watched):
    page = watched.page
    page.goto(many.url)
    page.keyboard.press("/")
    page.keyboard.type("base")
    page.keyboard.press("Escape")
    everything = page.locator("tr.run:visible").count()
    page.keyboard.press("/")
    page.keyboard.type("haiku-base")
    one = page.locator("tr.run:visible").count()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('haiku-base')")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_selector("table.runs")

    assert everything == 11 and one == 1


def test_a_filter_that_matches_nothing_says_so_and_is_cleared(many, watched):
    page = watched.page
    page.goto(f"{many.url}/?find=qwnx")
    page.wait_for_selector("#nomatch")
    said = page.inner_text("#nomatch")
    page.click("#clear")

    assert "11 runs are hidden" in said
    assert page.locator("tr.run:visible").count() == 11


def test_a_theme_is_chosen_remembered_and_asked_for(server, watched):
    page = watched.page
    page.goto(server.url)
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    page.click("#theme")
    page.goto(f"{server.url}/runs/{SICK}")
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.goto(f"{server.url}/?theme=light")
    asked = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.evaluate("localStorage.clear()")

    assert light == asked != dark


def test_the_list_of_keys_opens_and_closes(server, watched):
    page = watched.page
    page.goto(server.url)
    page.keyboard.press("?")
    opened = page.locator("#keylist").is_visible()
    page.keyboard.press("Escape")

    assert opened and not page.locator("#keylist").is_visible()


def test_answer_steps_findings_and_timeline_stand_above_the_fold(server, watched):
    page = watched.page
    page.goto(f"{server.url}/runs/{SICK}")
    wait_until(lambda: drawn(page))
    box = page.locator("#lanes canvas").bounding_box()

    assert box["y"] + box["height"] <= 900 - 28


def test_without_scripts_a_page_says_the_same(server, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/runs/{SICK}")
    text = page.inner_text("body")
    buttons = page.locator("button:visible, input:visible").count()
    bars = page.locator("a.col rect").count()
    context.close()

    assert "It is Tinker." in text and "capacity-pause" in text and "RequestFailedError" in text
    assert buttons == 0 and bars > 200


def test_times_are_shown_in_the_viewers_zone_and_in_utc_on_demand(server, browser):
    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto(f"{server.url}/runs/{SICK}")
    time = page.locator(".runhead time").first
    wait_until(lambda: page.evaluate("document.querySelector('.runhead time').textContent === '24 Nov, 11:04:11'"))
    title = time.get_attribute("title")
    context.close()

    assert title == "24 Nov, 02:04:11 UTC"


def test_scripts_and_server_write_numbers_alike(server, watched):
    values = [
        None,
        0,
        1e-6,
        0.00004,
        0.0066,
        0.00994,
        0.084,
        0.0996,
        0.27,
        0.9994,
        47.04,
        99.49,
        99.5,
        141.2,
        3599.6,
        3840,
        90000,
    ]
    watched.page.goto(server.url)
    module = next(request for request in watched.requests if "/js/page.js" in request).replace("page.js", "format.js")
    written = watched.page.evaluate(
        f"async () => {{ const {{ seconds }} = await import('{module}'); return {json.dumps(values)}.map(seconds); }}"
    )

    assert written == [figures.seconds(value) for value in values]


def test_the_hostile_text_is_as_bad_as_it_should_be():
    assert all(mark in HOSTILE for mark in ("<script>", "\u202e", "\x00", "\ud800", "{{", "'", '"', "`", "&"))


WRITTEN = """() => { const said = [], kept = CanvasRenderingContext2D.prototype.fillText;
const { moveTo, lineTo } = CanvasRenderingContext2D.prototype; let from = [0, 0];
CanvasRenderingContext2D.prototype.moveTo = function (...at) { from = at; return moveTo.apply(this, at); };
CanvasRenderingContext2D.prototype.lineTo = function (x, y) {
  const [left, right] = [Math.min(from[0], x), Math.max(from[0], x)];
  for (const word of said)
    if (Math.abs(word.y - y) < 4 && from[1] === y && left < word.right && right > word.left) word.struck = true;
  return lineTo.call(this, x, y); };
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  const wide = this.measureText(text).width, left = x - (this.textAlign === 'center' ? wide / 2 : 0);
  said.push({ text, left, right: left + wide, y, edge: this.canvas.clientWidth });
  return kept.apply(this, arguments); };
window.said = said; }"""


def written(page) -> list[dict]:
    """What is written on the timeline from now on, and where, in one drawing."""
    page.evaluate(WRITTEN)
    page.keyboard.press("+")
    wait_until(lambda: page.evaluate("said.length > 0"))
    page.evaluate("() => { said.length = 0; }")
    page.keyboard.press("0")
    wait_until(lambda: page.evaluate("said.length > 0"))
    return page.evaluate("said")


def test_a_finding_between_two_others_is_named_by_as_much_of_its_cause_as_fits(own, watched):
    report = sick()
    pause = next(finding for finding in report["findings"] if finding["cause"] == "capacity-pause")
    began = pause["evidence"]["began_s"]
    for cause, from_s, until_s in (("slow-service", 0, began - 9), ("service-errors", began - 9, began)):
        evidence = {**pause["evidence"], "began_s": from_s, "ended_s": until_s}
        report["findings"].append({**pause, "cause": cause, "evidence": evidence})
    own.source.put(report)
    watched.page.set_viewport_size({"width": 1440, "height": 900})
    watched.page.goto(f"{own.url}/runs/{SICK}")
    wait_until(lambda: drawn(watched.page))

    shortened = [word["text"][:-1] for word in written(watched.page) if word["text"].endswith("…")]

    assert any(len(word) >= 6 and "service-errors".startswith(word) for word in shortened), shortened


@pytest.mark.parametrize("width", [390, 1440])
def test_words_on_the_timeline_neither_touch_nor_leave_it(width, own, watched):
    report = sick()
    pause = next(finding for finding in report["findings"] if finding["cause"] == "capacity-pause")
    began, ended = pause["evidence"]["began_s"], pause["evidence"]["ended_s"]
    report["findings"].append(
        {**pause, "cause": "service-errors", "evidence": {**pause["evidence"], "began_s": began - 2, "ended_s": ended}}
    )
    report["retries"] = [{"at_s": at, "operation": "forward_backward"} for at in (50.0, 50.5, 51.0)]
    own.source.put(report)
    watched.page.set_viewport_size({"width": width, "height": 900})
    watched.page.goto(f"{own.url}/runs/{SICK}")
    wait_until(lambda: drawn(watched.page))
    words = written(watched.page)

    labels = [word["text"] for word in words if word["text"].startswith(("capacity-pause", "service-errors"))]
    assert len(labels) == 2 or width < 560
    for word in words:
        assert word["right"] <= word["edge"] + 1, word
        assert "struck" not in word, word
        touched = [
            other["text"]
            for other in words
            if other is not word
            and other["y"] == word["y"]
            and other["left"] < word["right"] - 1
            and word["left"] < other["right"] - 1
        ]
        assert touched == [], word


UNDER_WORDS = """() => {
  const words = [...document.querySelectorAll('.losses text')].map((each) => each.getBoundingClientRect());
  return [...document.querySelectorAll('.losses .curve')].flatMap((line) => {
    const [x1, y1, x2, y2] = ['x1', 'y1', 'x2', 'y2'].map((key) => line[key].baseVal.value);
    const at = line.getScreenCTM();
    return Array.from({ length: 21 }, (_, n) => [at.e + x1 + (x2 - x1) * n / 20, at.f + y1 + (y2 - y1) * n / 20]);
  }).filter(([x, y]) => words.some((word) => x > word.left && x < word.right && y > word.top && y < word.bottom));
}"""


@pytest.mark.parametrize("losses", [[1570.27, 999.34, 1400.5], [999.34] * 3, [0.1, 1570.27, 0.1]])
def test_no_word_lies_on_the_loss_curve(losses, own, watched):
    report = made_run("lora", SICK, steps=30)
    report["loss"] = [[step, losses[step % 3]] for step in range(1, 31)]
    own.source.put(report)
    watched.page.goto(f"{own.url}/runs/{SICK}")

    assert watched.page.locator(".losses .curve").count() == 29
    assert watched.page.evaluate(UNDER_WORDS) == []


def test_no_cause_and_no_name_of_an_operation_is_cut(own, watched):
    report = sick()
    report["sdk_version"] = "0.38.0+" + "local." * 60
    report["operations"][0]["operation"] = "save_weights_and_get_sampling_client_for_everything"
    own.source.put(report)
    watched.page.goto(f"{own.url}/runs/{SICK}")
    for width in (390, 1280, 1440):
        watched.page.set_viewport_size({"width": width, "height": 900})
        cut = watched.page.evaluate(
            """() => [...document.querySelectorAll('.findings .cause, .findings .cause bdi, table.lat th')]
            .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth).map((one) => one.textContent)"""
        )

        assert cut == [], width
        assert watched.page.evaluate("document.querySelector('#ledger').offsetHeight < 31") or width < 720
        assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


BOXES = """(words) => [...document.querySelectorAll(words)].map((one) => one.getBoundingClientRect())
    .filter((box) => box.width).map((box) => [box.left, box.right, box.top, box.bottom])"""


def test_words_over_cut_bars_and_over_what_was_lost_do_not_touch(own, watched):
    report = sick()
    report["steps"][7]["wall_s"], report["steps"][7]["parts"] = 40.0, {"send": 40.0}
    own.source.put(report)
    watched.page.goto(f"{own.url}/runs/{SICK}")
    for width in (390, 1280):
        watched.page.set_viewport_size({"width": width, "height": 900})
        words = watched.page.evaluate(BOXES, ".over text.halo:not(.bad)")
        bracket, said = (watched.page.evaluate(BOXES, which) for which in (".share svg.lost rect", ".share p.lost"))

        assert len(words) == 3, "two lengths and one reason"
        assert not [
            (width, one, other)
            for one, other in combinations(words, 2)
            if one[0] < other[1] and other[0] < one[1] and one[2] < other[3] - 2 and other[2] < one[3] - 2
        ]
        assert all(said[0][3] <= box[2] for box in bracket) if width < 720 else not said


def test_in_a_narrow_list_a_finding_is_told_whole(own, watched):
    own.source.put(sick())
    watched.page.set_viewport_size({"width": 390, "height": 900})
    watched.page.goto(own.url)

    assert watched.page.inner_text(".finding-cell .quiet").endswith("step 12")
    assert watched.page.evaluate(
        "(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)(document.querySelector('.finding-cell .quiet'))"
    )


def test_labels_of_the_latency_axis_do_not_touch(own, watched):
    report = sick()
    report["operations"][0]["calls"] += [(1.0, 0.004, 1, 1), (2.0, 0.4, 1, 1), (3.0, 90.0, 1, 1)]
    own.source.put(report)
    watched.page.goto(f"{own.url}/runs/{SICK}")
    for width in (390, 720, 1100, 1280, 1440):
        watched.page.set_viewport_size({"width": width, "height": 900})
        boxes = watched.page.evaluate(BOXES, ".lat .scale text")

        assert boxes
        assert all(left[1] <= right[0] for left, right in pairwise(boxes)), (width, boxes)
