"""The SDK's own events are told as it logs them, and not where it was told to log none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tinker
from tests.instrument.watching import MODEL, Events, adam
from tinker.lib import telemetry as sdk_telemetry

from tinkertape.instrument.tinker.sdk_events import sdk_telemetry_is_on

ON = ["1", "true", "TRUE", "yes", "Yes", "on", "ON"]
OFF = ["0", "false", "False", "no", "off", "OFF", "", "2", "enabled", " 1", "none"]


@pytest.mark.parametrize("value", [*ON, *OFF])
def test_a_value_is_on_or_off_as_the_sdk_itself_reads_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", value)

    assert sdk_telemetry_is_on() is sdk_telemetry._is_telemetry_enabled() is (value in ON)


def test_it_is_on_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINKER_TELEMETRY", raising=False)

    assert sdk_telemetry_is_on() is sdk_telemetry._is_telemetry_enabled() is True


@pytest.mark.parametrize(("value", "told"), [("1", True), ("0", False), ("", False)])
def test_the_sdks_events_are_told_only_where_it_is_on_and_the_calls_always(
    connect: Callable[..., tinker.ServiceClient],
    events: Events,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    told: bool,
) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", value)

    service = connect()
    service.create_lora_training_client(base_model=MODEL).result().optim_step(adam()).result()

    assert (service.get_telemetry() is not None) is told
    assert any(event.name == "tinker.sdk.event" for event in events) is told
    assert events.one("tinker.training.optim_step.stop")


def test_what_is_logged_past_the_sdks_own_switch_is_not_told_either(
    connect: Callable[..., tinker.ServiceClient], events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", "1")
    service = connect()
    service.create_lora_training_client(base_model=MODEL).result()
    kept = service.get_telemetry()
    monkeypatch.setenv("TINKER_TELEMETRY", "off")
    events.clear()

    assert kept is not None
    assert kept.log("late", event_data={"a": 1})

    assert [event for event in events if event.name == "tinker.sdk.event"] == []
