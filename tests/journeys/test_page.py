"""A person watches: the page is open in a browser while the real SDK trains."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from tests.cli.conftest import TINKERTAPE
from tests.dashboard.browser import ARGUMENTS
from tests.dashboard.conftest import Watched
from tests.faults.processes import EXAMPLE, Collector, ended, run_below, started
from tests.journeys.seeds import COMPUTE_S
from tests.waiting import wait_until

from tinkertape import sim
from tinkertape.sim import FutureFault, Pause, Scenario, SubmitFault

STEPS = 16
SCENARIO = Scenario(
    compute_s={**COMPUTE_S, "ForwardBackward": 0.15, "OptimStep": 0.06},
    poll_hold_s=0.5,
    pauses=(Pause(nth=8, length_s=8.0, text="more runs than machines just now"),),
    submit_faults=(SubmitFault(nth=11, status=503, request_type="OptimStep"),),
    future_faults=(FutureFault(nth=5, category="server", message="the worker was lost"),),
)
VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@pytest.fixture
def watched(chromium: str) -> Iterator[Watched]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(60_000)
        page.add_init_script(VIOLATIONS)
        yield Watched(page)
        browser.close()


@pytest.mark.timeout(180)
def test_a_run_appears_updates_live_and_its_page_shows_the_pause_the_failure_and_the_answer(
    collector: Collector, watched: Watched, tmp_path: Path
) -> None:
    page = watched.page
    with sim.start(SCENARIO) as service:
        page.goto(collector.url)
        page.evaluate("window.here = 1")
        training = started(
            [sys.executable, "-u", *TINKERTAPE[1:], "run", "--name", "watched", str(EXAMPLE), "--steps", str(STEPS)],
            directory=tmp_path / "home",
            service=service.url,
            TINKERTAPE_URL=collector.url,
        )
        page.wait_for_selector("a.name:has-text('watched')")
        assert page.evaluate("window.here") == 1
        page.click("a.name:has-text('watched')")
        page.wait_for_selector("#live:has-text('Live')")
        page.evaluate("window.here = 2")
        counts = [grown_beyond(page, 0)]
        counts.append(grown_beyond(page, counts[-1]))
        page.wait_for_selector(".findings:has-text('capacity-pause')")
        live_at_the_pause = training.poll() is None
        status, _, complained = ended(training)
        wait_until(lambda: page.title().startswith("Ended"), within_s=60, otherwise=page.title)
        wait_until(lambda: steps_on(page) == STEPS, within_s=30, otherwise=lambda: steps_on(page))

    run = run_below(tmp_path / "home")
    assert page.url == f"{collector.url}/runs/{run}" and page.evaluate("window.here") == 2
    assert live_at_the_pause
    assert (status, "It is Tinker" in complained) == (0, True), complained
    text = page.inner_text("main")
    for word in ("capacity-pause", "more runs than machines just now", "service-errors", "the worker was lost", "503"):
        assert word in text, word
    assert "Tinker" in page.inner_text("#verdict .who") and page.inner_text("#verdict .rest").endswith(".")
    assert page.inner_text("#verdict") in page.inner_text(".answer")
    assert (watched.wrong, page.evaluate("window.violations")) == ([], [])
    assert all(request.startswith(collector.url) for request in watched.requests)


def steps_on(page: Page) -> int:
    return page.locator("a.col").count()


def grown_beyond(page: Page, count: int) -> int:
    """Wait until the page shows more steps than that, and say how many."""
    return wait_until(
        lambda: (shown := steps_on(page)) > count and shown, within_s=60, every_s=0.1, otherwise=lambda: steps_on(page)
    )
