"""What tests of other people's programs are given: captured events, a service, a collector, and the fixtures."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tests.waiting import wait_until

import tinkertape
from tinkertape.bus import Bus
from tinkertape.errors import CollectorError, EventNameError
from tinkertape.testing import captured_events, collector, sim

pytest_plugins = ["pytester"]


def stored(ledger: dict[str, int]) -> dict[str, int] | None:
    """The ledger once all that was recorded is stored."""
    return ledger if ledger["recorded"] and not ledger["pending"] else None


DONE = tinkertape.EventType("tests.testing.done", measurements={"rows": "count"})


def test_the_events_of_a_block_are_captured_whole_and_in_order_from_any_thread() -> None:
    with captured_events("tests.testing") as events:
        DONE.execute({"rows": 1}, {"path": "p"})
        other = threading.Thread(target=DONE.execute, args=({"rows": 2},))
        other.start()
        other.join()
    DONE.execute({"rows": 3})

    assert events.names == ["tests.testing.done"] * 2
    assert [event.measurements["rows"] for event in events.named("tests.testing.done")] == [1, 2]
    assert events[0].metadata == {"path": "p"} and events[0].severity == "INFO"


def test_a_name_that_nobody_knows_ends_the_block_with_its_place_and_the_nearest_name() -> None:
    with pytest.raises(EventNameError) as refused, captured_events():
        tinkertape.execute("tests.testing.dnoe", {"rows": 1})

    text = str(refused.value)
    assert "did you mean 'tests.testing.done'?" in text
    assert f"{__file__}:" in text


def test_a_name_that_is_declared_or_that_somebody_listens_to_is_no_slip() -> None:
    tinkertape.attach("tests.testing", "tests.testing.undeclared", lambda *call: None)
    try:
        with captured_events() as events:
            tinkertape.execute("tests.testing.undeclared", {})
            DONE.execute({"rows": 1})
    finally:
        tinkertape.detach("tests.testing")

    assert events.names == ["tests.testing.undeclared", "tests.testing.done"]


def test_without_strict_any_name_passes() -> None:
    with captured_events("made.up", strict=False) as events:
        tinkertape.execute("made.up.name", {})

    assert events.names == ["made.up.name"]


def test_the_exception_of_a_handler_ends_the_block() -> None:
    def broken(*call: object) -> None:
        raise ZeroDivisionError("in the handler")

    bus = Bus()
    bus.attach("broken", DONE.name, broken)

    with pytest.raises(ZeroDivisionError, match="in the handler"), captured_events(bus=bus):
        bus.execute(DONE.name, {})


def test_an_exception_of_the_block_goes_before_what_was_seen_in_it() -> None:
    with pytest.raises(KeyError, match="mine"), captured_events():
        tinkertape.execute("tests.testing.dnoe", {})
        raise KeyError("mine")


def test_nothing_stays_attached_after_the_block() -> None:
    before = tinkertape.list_handlers()
    with captured_events():
        pass

    assert tinkertape.list_handlers() == before


def test_the_sdk_trains_against_the_service_with_no_setting_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_BASE_URL", "http://former.example")
    import tinker  # noqa: PLC0415  it reads its settings when it is made

    with sim():
        training = tinker.ServiceClient().create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
        result = training.optim_step(tinker.AdamParams(learning_rate=1e-4)).result()

    assert result is not None
    assert os.environ["TINKER_BASE_URL"] == "http://former.example"


def test_a_collector_takes_stores_and_answers(tmp_path: Path) -> None:
    with collector(tmp_path / "home") as running:
        with tinkertape.record("mine", url=running.url, directory=tmp_path / "state") as telemetry:
            telemetry.log("my.event", {"rows": 3})
        [run] = wait_until(lambda: running.get("/api/v1/runs"), within_s=20)
        ledger = wait_until(lambda: stored(running.get(f"/api/v1/ledger?run={telemetry.run}")), within_s=20)

    assert (run["run"], run["name"]) == (telemetry.run, "mine")
    assert ledger["recorded"] == ledger["stored"] >= 3


def test_a_collector_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "tapes").mkdir()
    (tmp_path / "inbox").write_text("a file where a folder belongs")

    with pytest.raises(CollectorError, match=r"did not start: .*inbox"), collector(tmp_path):
        pass


def test_the_fixtures_are_there_for_anybodys_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, sys

        def test_nothing_of_ours_is_imported_before_a_fixture_is_used():
            assert "tinkertape.bus" not in sys.modules

        def test_events(tinkertape_events):
            import tinkertape
            done = tinkertape.EventType("my.thing.done")
            done.execute({"rows": 1})
            assert tinkertape_events.names == ["my.thing.done"]

        def test_service(tinker_sim):
            assert os.environ["TINKER_BASE_URL"] == tinker_sim.url

        def test_collector(tinkertape_collector):
            assert os.environ["TINKERTAPE_URL"] == tinkertape_collector.url
            assert tinkertape_collector.get("/api/v1/ledger")["recorded"] == 0

        def test_slip(tinkertape_events):
            import tinkertape
            tinkertape.execute("my.thing.dnoe", {})
        """
    )

    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")

    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["errors"]) == (5, 1)
    result.stdout.fnmatch_lines(["*did you mean 'my.thing.done'?*"])
