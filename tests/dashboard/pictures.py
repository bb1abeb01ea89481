"""Takes pictures of every page, to be looked at: `python -m tests.dashboard.pictures FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from tests.dashboard.browser import ARGUMENTS, EXECUTABLE
from tests.dashboard.fake_source import LIVE, SICK, FakeSource, served
from tests.dashboard.worlds import many_runs, world


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        served(world()) as server,
        served(many_runs()) as many,
        served(FakeSource()) as empty,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        pages = [
            ("run", f"{server.url}/runs/{SICK}"),
            ("runs", f"{many.url}/"),
            ("live", f"{server.url}/runs/{LIVE}"),
            ("empty", f"{empty.url}/"),
            ("unknown", f"{server.url}/runs/01KAS"),
            ("paused", f"{server.url}/runs/paused"),
            ("failed", f"{server.url}/runs/failed"),
            ("hostile", f"{server.url}/runs/hostile"),
            ("long", f"{server.url}/runs/long"),
            ("early", f"{server.url}/runs/early"),
        ]
        for name, url in pages:
            for theme, width, height, whole in (
                ("light", 1440, 900, False),
                ("light", 1440, 900, True),
                ("dark", 1440, 900, False),
                ("light", 390, 844, True),
                ("dark", 390, 844, False),
            ):
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(f"{url}?theme={theme}")
                page.wait_for_timeout(400)
                page.screenshot(path=folder / f"{name}-{theme}-{width}{'-whole' if whole else ''}.png", full_page=whole)
                page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
