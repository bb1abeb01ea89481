"""What is set aside is in the table `rejected`, with its reason, and in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.collector.conftest import wire_body, wire_event

from tinkertape.collector.books import Books
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.intake import take_in
from tinkertape.collector.loader import Loader
from tinkertape.store import Store
from tinkertape.tape.ledger import Ledger

ASIDE = {  # a bad event, and the reason that is kept
    b"7": "no JSON object",
    b"null": "no JSON object",
    b"{}": "no line of a tape: Object missing required field `event`",
    b'{"event":1}': "no line of a tape: Expected `str`, got `int`",
    b'{"event":"GENERIC_EVENT","event_data":%s1%s}' % (b'{"a":' * 100, b"}" * 100): "nested deeper than 64",
    b'{"event":"GENERIC_EVENT","event_session_index":0,"timestamp":"yesterday"}': "no RFC 3339 time",
    b'{"event":"GENERIC_EVENT","event_session_index":0,"timestamp":"1812-01-01T00:00:00Z"}': "time out of range",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    with Store.open(f"chdb://{tmp_path_factory.mktemp('rejected') / 'store'}") as opened:
        yield opened


async def test_a_bad_event_goes_to_the_table_with_its_reason_and_is_in_the_ledger(store: Store, tmp_path: Path):
    events = [json.dumps(wire_event(0)).encode(), *ASIDE, json.dumps(wire_event(1)).encode()]
    body = json.dumps(wire_body("s", [])).encode().replace(b"[]", b"[%s]" % b",".join(events))
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(take_in(body).lines)
    inbox.close()
    loader = Loader(store, inbox.folder, None)

    while loader.turn():
        pass

    rows = store._engine.read("SELECT reason, text FROM rejected FINAL WHERE run = 's' ORDER BY arrival")
    assert [reason for reason, _text in rows] == list(ASIDE.values())
    assert [text.encode()[:1] for _reason, text in rows] == [raw[:1] for raw in ASIDE]
    count = len(ASIDE)
    assert Books(store, loader).ledger("s") == Ledger(recorded=count + 2, stored=2, rejected=count)
