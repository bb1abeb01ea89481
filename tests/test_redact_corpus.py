"""The corpus of redaction: of 231 made-up secrets none may stay, of 235 look-alikes none may go.

`tests/data/redaction.json` was made by chance, none of it is or was anybody's. A sign in the midst of each secret keeps
scanners from taking it for a real one; it is taken out before it is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinkertape.redact import MARK, redact
from tinkertape.tape import Recorder

SIGN = "⌁"
RAW = (Path(__file__).parent / "data" / "redaction.json").read_text(encoding="utf-8")
CORPUS: dict[str, list[dict[str, Any]]] = json.loads(RAW.replace(SIGN, ""))
SECRETS, LOOK_ALIKES = CORPUS["secrets"], CORPUS["look_alikes"]


def kinds_of(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{number}: {entry['kind']}" for number, entry in enumerate(entries)]


def different(entries: list[dict[str, Any]]) -> int:
    return len({json.dumps(entry["data"]) for entry in entries})


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert different(SECRETS) == len(SECRETS) >= 200
    assert different(LOOK_ALIKES) == len(LOOK_ALIKES) >= 200
    assert all(entry["secret"] in json.dumps(entry["data"]) for entry in SECRETS)


@pytest.mark.parametrize("entry", SECRETS, ids=kinds_of(SECRETS))
def test_a_secret_is_replaced_and_not_echoed(entry: dict[str, Any]) -> None:
    redacted = json.dumps(redact(entry["data"]))

    assert entry["secret"] not in redacted
    assert MARK in redacted


@pytest.mark.parametrize("entry", LOOK_ALIKES, ids=kinds_of(LOOK_ALIKES))
def test_a_look_alike_stays_as_it_is(entry: dict[str, Any]) -> None:
    assert redact(entry["data"]) == entry["data"]


def test_no_secret_of_the_corpus_reaches_a_tape_and_every_look_alike_does(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "run-1")
    for entry in SECRETS + LOOK_ALIKES:
        recorder.log("corpus", {"given": entry["data"]})
    recorder.close()

    written = recorder.path.read_text(encoding="utf-8")
    told = [json.loads(line)["event_data"]["given"] for line in written.splitlines() if '"corpus"' in line]
    assert [entry["kind"] for entry in SECRETS if entry["secret"] in written] == []
    assert told[len(SECRETS) :] == [entry["data"] for entry in LOOK_ALIKES]
