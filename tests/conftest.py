"""What every test may rely on: no setting of the machine's, a state folder of its own, and the browser's address."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import coverage
import hypothesis
import pytest

# How long an example takes says nothing here. Half as many as usual; --hypothesis-profile=long searches for hours.
hypothesis.settings.register_profile("tinkertape", deadline=None, max_examples=50)
hypothesis.settings.register_profile("long", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile("tinkertape")

LONGEST = (  # what takes long comes first; what makes the machine busy on purpose, when the twenty seeds have trained
    "tests/journeys/test_twenty_seeds.py",
    "tests/dashboard/test_browser.py",
    "tests/cli/test_reading.py",
    "tests/diagnosis/test_truth.py",
    "tests/diagnosis/test_mixes.py",
    "tests/diagnosis/test_network_truth.py",
    "tests/versions/",
    "tests/faults/",
    "tests/conservation/",
    "tests/journeys/",
    "tests/cli/",
    "tests/collector/",
    "tests/instrument/",
)
UNTRACED = (  # by coverage: they hold times against a service in this process, or run each line thousands of times,
    # or interrupt each line by a signal's handler that waits for a thread, which coverage's own lock does not allow
    "tests/journeys/test_twenty_seeds.py",
    "tests/diagnosis/test_truth.py",
    "tests/diagnosis/test_mixes.py",
    "tests/diagnosis/test_network_truth.py",
    "tests/conservation/",
    "tests/diagnosis/test_laws.py",
    "tests/diagnosis/test_forgetting.py",
    "tests/dashboard/test_browser.py",
    "tests/dashboard/test_text.py",
    "tests/cli/test_text.py",
    "tests/test_redact_forms.py",
    "tests/bus/test_signals.py",
    "tests/metrics/test_signals.py",
    "tests/metrics/reporters/test_statsd_signals.py",
)
AGAIN = pytest.StashKey[bool]()  # the same function's second case or a later one: of nearly the same lines
BURNER = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--versions", action="store_true", help="run every release of the SDK in tests/versions, not a few"
    )


def pytest_configure() -> None:
    """Ctrl-C reaches the programs that tests start, also where this was started in a shell's background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: no worker begins one when the others are done."""
    items.sort(key=lambda item: _rank(item.nodeid))
    seen: set[str] = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        item.stash[AGAIN] = function in seen
        seen.add(function)


def _rank(name: str) -> int:
    return next((rank for rank, begin in enumerate(LONGEST) if name.startswith(begin)), len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Coverage, where it is measured, stands still for a test that it would slow down, and for its fixtures.

    It makes all Python take twice as long (3.11 has no other way), so of a function's cases the first one is measured.
    """
    controller = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if controller is None or not (item.stash[AGAIN] or item.nodeid.startswith(UNTRACED)):
        return (yield)
    controller.pause()
    outer = coverage.Coverage.current()  # a worker is a process of its own, which measures itself, too
    if outer is not None:
        outer.stop()
    try:
        return (yield)
    finally:
        if outer is not None:
            outer.start()
        controller.resume()


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Recordings of a test and of the programs it starts go into its own folder, which is not made yet; one that a
    failed test left open is closed."""
    for variable in [name for name in os.environ if name.startswith("TINKERTAPE_")]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "state"
    monkeypatch.setenv("TINKERTAPE_DIRECTORY", str(folder))
    yield folder
    telemetry = sys.modules.get("tinkertape.telemetry")
    running = telemetry.get_telemetry() if telemetry is not None else None
    if running is not None and running.tape.is_relative_to(tmp_path):
        running.close()


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For a test that holds times to the millisecond: no test of another worker crowds the machine meanwhile."""
    with (tmp_path_factory.getbasetemp().parent / "machine").open("w") as file:  # the parent is all workers'
        fcntl.flock(file, fcntl.LOCK_EX if "crowded" in request.fixturenames else fcntl.LOCK_SH)
        yield


@pytest.fixture
def crowded(machine: None) -> Iterator[None]:
    """Every processor of this machine has something else to do, too."""
    burners = [subprocess.Popen([sys.executable, "-c", BURNER]) for _ in os.sched_getaffinity(0)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one, whoever asks fails and says what to install."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("this test drives a browser and found none; install Chromium (Debian: apt-get install chromium)")
    return found
