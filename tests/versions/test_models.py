"""Our batches are what the SDK's own models say a batch is. `models.py` asks those of each release of the last year."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from tests.versions.models import KINDS, check, everything, wire_body

from tinkertape.delivery.foreign import has_process_uuid


def test_a_batch_of_everything_is_accepted_by_the_installed_sdk_s_models_and_comes_back_unchanged(
    tmp_path: Path,
) -> None:
    lines, header = everything(tmp_path)
    sent = wire_body(lines, header, importlib.metadata.version("tinker"))

    assert list(check(sent, None)) == []
    assert {event["event"] for event in json.loads(sent)["events"]} == set(KINDS)
    assert len(json.loads(sent)["events"]) > 40


@pytest.mark.parametrize(
    ("version", "sends"),
    [("0.6.3", False), ("0.23.4", False), ("0.24.0", True), ("0.38.0", True), ("1.0.0", True), ("", True)],
)
def test_a_body_has_no_key_that_the_sdk_of_its_version_has_not(version: str, sends: bool) -> None:
    assert has_process_uuid(version) is sends
