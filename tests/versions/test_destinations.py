"""The SDK's own telemetry goes where `install(sdk_telemetry=…)` says, whatever the release."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.versions.page import INSTALLED_WITHIN_S
from tests.versions.releases import SAMPLE, NotToBeHad, Release, install, releases
from tests.versions.runs import run_program

from tinkertape import open_tape
from tinkertape.sim import start

GOES = {  # to the service, to the tape
    "tape, with nobody there": (True, False),
    "service": (True, True),
    "tape": (False, True),
    "nowhere": (False, False),
}
KINDS = {"GENERIC_EVENT", "UNHANDLED_EXCEPTION"}  # and a session's start and end: releases differ there


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    everything = metafunc.config.getoption("--versions")
    chosen = [release for release in releases() if everything or release.version in SAMPLE]
    metafunc.parametrize("release", chosen, ids=lambda release: release.version)


def test_the_sdks_telemetry_goes_where_it_is_told_to(release: Release, tmp_path: Path) -> None:
    try:
        list(install([release], within_s=INSTALLED_WITHIN_S))
    except NotToBeHad as error:
        pytest.skip(str(error))
    with start(truth=tmp_path / "truth.jsonl") as sim:
        account = run_program("destinations.py", release, sim.url, tmp_path)
        sent_ns = [line["headers_ns"] for line in sim.truth_lines() if line.get("path") == "/api/v1/telemetry"]
    told = [event for event in open_tape(account["tape"]) if event.name == "tinker.sdk.event"]

    assert account["release"] == release.version
    for destination, (to_service, to_tape) in GOES.items():
        said = account["told"][destination]
        heard = [event for event in told if said["began_ns"] <= event.monotonic_ns <= said["ended_ns"]]
        assert said["accepted"] is (to_service or to_tape), destination
        assert any(said["began_ns"] <= at <= said["ended_ns"] for at in sent_ns) is to_service, destination
        kinds = {event.metadata["event"] for event in heard}
        assert kinds >= KINDS if to_tape else not kinds, destination
