"""A session's heartbeats, its gaps and its end, with the real SDK, held against what the service says of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.diagnosis.programs import BEAT_S
from tests.diagnosis.truth import MINOR, MS, Run, Trainer

from tinkertape.context import Event
from tinkertape.diagnosis import Diagnosis, diagnose
from tinkertape.sim import LostSession, Outage, Scenario
from tinkertape.tape import open_tape

pytestmark = pytest.mark.alone
pytest.importorskip("tinker")

COMPUTE_S = {"CreateModel": 0.01, "OptimStep": 0.03}
STOPS_FROM = 26  # from 0.26 on the SDK sends no heartbeat after a 410 (docs/versions.md)
ENDS = ("tinker.session.heartbeat.stop", "tinker.session.heartbeat.exception")


def ran(trainer: Trainer, folder: Path, **faults: object) -> tuple[Run, list[Event], Diagnosis]:
    """The program of heartbeats: those that were answered are the service's, one by one; an SDK that cannot close its
    client sends more when the recording is over, and one may be under way then.
    """
    scenario = Scenario(name="sessions", compute_s=COMPUTE_S, **faults)  # type: ignore[arg-type]
    run = trainer.run(scenario, folder, program="heartbeats")
    events = list(open_tape(run.tape))
    beats = [event for event in events if event.name in ENDS]
    answered = beats_of(run, events[-1].monotonic_ns)
    told = [beat.metadata["status_code"] for beat in beats if beat.name == ENDS[0]]
    assert told == [line["status"] for line in answered][: len(told)]
    assert len(told) >= 3 and len(answered) - len(told) in (0, 1)
    assert len({beat.metadata["session_id"] for beat in beats}) == 1
    assert_gaps(run, beats)
    return run, beats, diagnose(run.tape)


def beats_of(run: Run, until_ns: int) -> list[dict[str, Any]]:
    """The service's own account of them."""
    beats = run.said("exchange", path="/api/v1/session_heartbeat")
    return [line for line in beats if line["headers_ns"] <= until_ns]


def assert_gaps(run: Run, beats: list[Event]) -> None:
    """The first has none; each other one's is what lies between it and the one before, and never less than the SDK
    sleeps. The service saw as much between the first and the last that it answered.
    """
    began = [beat.measurements["monotonic_time"] - beat.measurements["duration"] for beat in beats]
    gaps = [later - earlier for earlier, later in pairwise(began)]
    assert [beat.measurements.get("gap") for beat in beats] == [None, *gaps]
    assert min(gaps) >= BEAT_S * 1e9
    seen = [at for at, beat in zip(began, beats, strict=True) if beat.name == ENDS[0]]
    headers = [line["headers_ns"] for line in beats_of(run, 1 << 62)][: len(seen)]
    assert seen[-1] - seen[0] == pytest.approx(headers[-1] - headers[0], abs=50 * MS + run.starved_ns(0, 1 << 62))


def test_a_session_that_is_lost_is_told_by_its_heartbeat_and_by_the_calls_that_failed(
    trainer: Trainer, tmp_path: Path
) -> None:
    run, beats, diagnosis = ran(trainer, tmp_path, lost_sessions=(LostSession(nth=5, request_type="OptimStep"),))

    [lost] = run.said("sessions_lost")
    [finding] = diagnosis
    refused = run.said("fault", status=410)
    gone = [beat for beat in beats if beat.metadata.get("status_code") == 410]
    assert (finding.cause, finding.owner, finding.severity) == ("session-lost", "service", "error")
    figures = finding.evidence.figures
    assert (figures["attempts"], figures["failed"], figures["heartbeats"]) == (len(refused), len(refused), len(gone))
    assert beats[-1] is gone[-1] and (len(gone) == 1 or MINOR < STOPS_FROM)
    assert lost["at_ns"] <= finding.evidence.began_ns <= finding.evidence.ended_ns
    assert lost["session_ids"] == [gone[0].metadata["session_id"]]


def test_heartbeats_that_break_in_an_outage_are_told_and_lose_no_session(trainer: Trainer, tmp_path: Path) -> None:
    outage = Outage(nth=3, request_type="OptimStep", length_s=0.5, after_s=0.05)

    run, beats, diagnosis = ran(trainer, tmp_path, outages=(outage,))

    [began], [ended] = run.said("outage"), run.said("restored")
    broken = [beat.measurements["monotonic_time"] for beat in beats if beat.name == ENDS[1]]
    late_ns = 50 * MS + run.starved_ns(0, 1 << 62)
    assert broken and began["at_ns"] - late_ns <= min(broken) and max(broken) <= ended["at_ns"] + late_ns
    assert "session-lost" not in {finding.cause for finding in diagnosis}
