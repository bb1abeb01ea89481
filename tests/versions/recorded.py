"""A plugin of pytest: tinkertape is installed, and hears every event, while tests that are not ours run."""

from __future__ import annotations

import pytest

from tinkertape import bus
from tinkertape.guard import failures
from tinkertape.instrument import tinker as source


def pytest_configure() -> None:
    bus.attach_all("recorded", lambda *_: None)
    source.install()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A hook of ours that failed is told: nothing else would show it."""
    if failed := failures():
        session.config.get_terminal_writer().line(f"hooks that failed: {failed}")
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
