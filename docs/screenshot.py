"""Makes docs/images/run.png: the page of the demo's run, as the README shows it.

python docs/screenshot.py [--dark] [FILE]

Runs `tinkertape demo`, waits for its page's address, and opens it in the Chromium of this machine, through playwright.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGE = re.compile(r"http://127\.0\.0\.1:\d+/runs/\w+")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)
WIDTH, HEIGHT = 1280, 860


def main() -> int:
    arguments = parser().parse_args()
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        print("no Chromium found; install it (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    with demo(arguments.seed) as address:
        take(browser, address, arguments.file, "dark" if arguments.dark else "light")
    print(arguments.file)
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Make the README's screenshot of the demo's page.")
    made.add_argument("file", nargs="?", type=Path, default=Path(__file__).parent / "images" / "run.png")
    made.add_argument("--dark", action="store_true", help="the dark theme")
    made.add_argument("--seed", type=int, default=3, help="where the demo's faults fall")
    return made


@contextmanager
def demo(seed: int) -> Iterator[str]:
    """The demo, up to the address of its run's page; ended afterwards."""
    command = [sys.executable, "-u", "-m", "tinkertape", "demo", "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield address_in(process.stdout or ())
    finally:
        process.terminate()
        process.wait(timeout=30)


def address_in(lines: Iterator[str] | tuple[str, ...]) -> str:
    for line in lines:
        if found := PAGE.search(line):
            return found[0]
    raise SystemExit("the demo ended without a page")


def take(browser: str, address: str, file: Path, scheme: str) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(FLAGS))
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
        page.goto(address)
        page.wait_for_load_state("load")
        file.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=file)
        chromium.close()


if __name__ == "__main__":
    sys.exit(main())
