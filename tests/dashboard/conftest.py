"""Served worlds and a browser, made once for all of this room's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.dashboard.browser import ARGUMENTS
from tests.dashboard.fake_source import FakeSource, Served, served
from tests.dashboard.worlds import many_runs, world

from tinkertape.dashboard import routes


@pytest.fixture(scope="session")
def client() -> TestClient:
    return TestClient(Starlette(routes=routes(world())))


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    """Every kind of run; nobody changes it."""
    with served(world()) as running:
        yield running


@pytest.fixture(scope="session")
def many() -> Iterator[Served]:
    with served(many_runs()) as running:
        yield running


@pytest.fixture
def own() -> Iterator[Served]:
    """A source of the test's own, empty at first."""
    with served(FakeSource()) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One for a module, no longer: playwright keeps an event loop running in this thread, and async tests need none."""
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


class Watched:
    """A page, and everything that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(15_000)
    yield Watched(page)
    page.close()
