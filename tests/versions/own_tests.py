"""The SDK's own tests, which come in its wheel: run with tinkertape installed, or without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

from tests.versions.releases import Release
from tests.versions.runs import ROOT, path_for

ENDS_WITHIN_S = 400.0
SLEEPERS = "not billing_402 and not close_drains"  # three tests that wait ten seconds each, by the clock
AT_ONCE = 3

Outcomes = dict[str, str]


def run_own_tests(release: Release, folder: Path, *, recorded: bool, chosen: str = "") -> Outcomes:
    """The outcome of each: passed, failed, error or skipped. `chosen` is pytest's expression; "" is all of them."""
    [package, *_] = path_for(release)
    files = sorted(str(path) for path in Path(package, "tinker", "lib").glob("*_test.py"))
    report = folder / f"{release.version}-{'recorded' if recorded else 'plain'}.xml"
    command = [sys.executable, "-m", "pytest", "--quiet", "-c", os.devnull, f"--rootdir={package}"]
    command += ["-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "-p", "no:tinkertape", f"--junitxml={report}"]
    command += ["-p", "tests.versions.recorded"] if recorded else []
    command += ["-k", chosen] if chosen else []
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TINKER", "COV_", "PYTEST"))
    }
    environment["PYTHONPATH"] = os.pathsep.join([*map(str, path_for(release)), str(ROOT)])
    done = subprocess.run(
        [*command, *files], env=environment, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False
    )
    if done.returncode not in (0, 1):  # 1: some test failed
        raise AssertionError(
            f"tinker {release.version}'s own tests ended with {done.returncode}:\n{done.stdout[-3000:]}"
        )
    return _outcomes(report)


def _outcomes(report: Path) -> Outcomes:
    found: Outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}::{case.get('name')}"] = ends[0] if ends else "passed"
    return found


def begin_own_tests(
    wanted: Sequence[Release], folder: Path, *, everything: bool
) -> dict[tuple[str, bool], Future[Outcomes]]:
    """Begin them, some at once. With `everything` the sleepers too, and each release without tinkertape as well."""
    pool = ThreadPoolExecutor(AT_ONCE)
    kinds = (True, False) if everything else (True,)
    chosen = "" if everything else SLEEPERS
    running = {
        (release.version, recorded): pool.submit(run_own_tests, release, folder, recorded=recorded, chosen=chosen)
        for release in wanted
        for recorded in kinds
    }
    pool.shutdown(wait=False)
    return running
