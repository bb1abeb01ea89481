"""The SDK's own telemetry, sent by the SDK itself to the collector as its server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import EXAMPLE, Collector, ended, plain
from tests.journeys.proxy import Proxy
from tests.waiting import wait_until

from tinkertape import sim
from tinkertape.sim import PollFault, Scenario

SCENARIO = Scenario(poll_hold_s=0.2, compute_s={"ForwardBackward": 0.5}, poll_faults=(PollFault(nth=2, status=500),))


@pytest.fixture
def proxy(collector: Collector) -> Iterator[Proxy]:
    with sim.start(SCENARIO) as service:
        made = Proxy(service.url, collector.url)
        yield made
        made.close()


def test_the_sdks_own_telemetry_is_accepted_by_the_collector_and_stored_whole(
    collector: Collector, proxy: Proxy, tmp_path: Path
) -> None:
    training = plain(EXAMPLE, "--steps", "2", directory=tmp_path / "none", service=proxy.url, TINKER_TELEMETRY="1")

    status, _, complained = ended(training)

    assert (status, complained) == (0, "")
    assert set(proxy.answers) == {(200, b'{"status":"accepted"}')}
    [session] = proxy.sessions
    sent = proxy.sent
    assert {event["event"] for event in sent.values()} >= {"SESSION_START", "GENERIC_EVENT"}
    wait_until(
        lambda: collector.ledger(session)["stored"] == len(sent),
        within_s=30,
        otherwise=lambda: f"{len(sent)} sent, {collector.ledger(session)}",
    )
    stored = {line["event_id"]: line for line in collector.events(session)}
    assert set(stored) == set(sent)
    for event_id, event in sent.items():
        for key in ("event", "event_session_index", "severity", "event_name"):
            assert stored[event_id].get(key) == event.get(key, stored[event_id].get(key)), key
    wait_until(  # the list's row is made after the events are stored
        lambda: [row["events"] for row in collector.runs() if row["run"] == session] == [len(sent)],
        otherwise=collector.runs,
    )
    assert not (tmp_path / "none").exists()
