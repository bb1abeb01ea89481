"""What every test may rely on: no setting of the machine's, a state folder of its own, and the browser's address."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("tinkertape", deadline=None)  # how long an example takes says nothing here
hypothesis.settings.load_profile("tinkertape")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings of a test and of the programs it starts go into its own folder, which is not made yet."""
    for variable in [name for name in os.environ if name.startswith("TINKERTAPE_")]:
        monkeypatch.delenv(variable)
    folder = tmp_path / "state"
    monkeypatch.setenv("TINKERTAPE_DIRECTORY", str(folder))
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one, whoever asks fails and says what to install."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("this test drives a browser and found none; install Chromium (Debian: apt-get install chromium)")
    return found
