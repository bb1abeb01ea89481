"""Breaks and spells: what broke, from when to when nothing got through, and what was this machine's own doing."""

from __future__ import annotations

import pytest
from tests.diagnosis.broken import CANCELLED, HEARTBEAT, NO_NAME, NO_ROOM, REFUSED, RESET, TIMEOUT, exchange
from tests.diagnosis.builder import MS, Script

from tinkertape.diagnosis.book import Book
from tinkertape.diagnosis.connections import Connections


def connections_of(script: Script) -> Connections:
    book = Book()
    for event in script.events():
        book.feed(event)
    [process] = book.fold.processes.values()
    return process.connections


def spells_of(script: Script) -> list[tuple[float, float | None, int]]:
    """From, to and how many breaks; in ms."""
    out = []
    for spell in connections_of(script).spells:
        ended = None if spell.answered_ns is None else (spell.answered_ns - script.ns(0)) / MS
        out.append(((spell.began_ns - script.ns(0)) / MS, ended, spell.breaks))
    return out


def test_a_spell_lasts_from_the_first_break_to_the_next_answers_headers() -> None:
    script = Script()
    exchange(script, 0, 5)
    exchange(script, 100, 130, error=RESET)
    exchange(script, 1130, 1131, error=REFUSED)
    exchange(script, 3131, 3140, headers=3135, status=503)  # any answer: the service was reached
    exchange(script, 4000, 4001, error=RESET)
    script.tick(5000)

    assert spells_of(script) == [(130, 3135, 2), (4001, None, 1)]


@pytest.mark.parametrize(
    ("error", "headers", "kind"),
    [
        (REFUSED, None, "refused"),
        (NO_NAME, None, "name"),
        ({"error_type": "ConnectError", "reason": "All connection attempts failed"}, None, "connect"),
        ({"error_type": "ConnectTimeout", "reason": "timed out"}, None, "connect"),
        (RESET, None, "reset"),
        ({"error_type": "RemoteProtocolError", "reason": "end of file before message length reached"}, 104, "half"),
        (TIMEOUT, None, "timeout"),
        (CANCELLED, None, None),
        (NO_ROOM, None, None),
        ({"error_type": "ValueError", "reason": "this is no URL"}, None, None),
    ],
    ids=str,
)
def test_what_broke_is_told_by_its_error(error: dict[str, str], headers: float | None, kind: str | None) -> None:
    script = Script()
    exchange(script, 100, 110, error=error, headers=headers)
    script.tick(5000)

    assert [kind for spell in connections_of(script).spells for kind in spell.kinds] == [kind] * (kind is not None)


def test_a_timeout_began_when_it_was_asked_and_is_alone_if_others_were_answered_meanwhile() -> None:
    script = Script()
    exchange(script, 100, 60_100, "/api/v1/optim_step", error=TIMEOUT)
    exchange(script, 30_000, 30_005)
    script.tick(61_000)

    assert spells_of(script) == [(100, 100, 1)]


def test_nothing_is_judged_before_the_busy_run_that_held_it_is_told() -> None:
    script = Script()
    exchange(script, 100, 2100, error=TIMEOUT)
    script.busy(150, 2150)
    exchange(script, 3000, 5000, error=TIMEOUT)
    script.tick(6000)

    assert spells_of(script) == [(3000, None, 1)]


def test_a_suspended_machine_breaks_nothing() -> None:
    script = Script()
    exchange(script, 100, 60_100, error=TIMEOUT)
    script.event("clock.gap", 60_050, {"monotonic": script.ns(60_050), "duration": 59_000 * MS})
    script.tick(61_000)

    assert spells_of(script) == []


def test_a_loop_that_is_busy_for_a_moment_resets_no_connection() -> None:
    script = Script()
    exchange(script, 100, 102, error=RESET)
    script.busy(95, 103)
    script.tick(1000)

    assert spells_of(script) == [(102, None, 1)]


def test_two_exchanges_that_nobody_answers_are_silence_while_they_are_open() -> None:
    script = Script()
    exchange(script, 0, 5)
    exchange(script, 1000, None, "/api/v1/forward_backward")
    exchange(script, 9000, None)
    for second in range(1, 22):
        script.tick(second * 1000)

    assert spells_of(script) == [(1000, None, 2)]


@pytest.mark.parametrize("second", [1500, None], ids=["sent at once", "no second one"])
def test_one_exchange_or_two_sent_at_once_may_be_a_loop_that_cannot_run(second: float | None) -> None:
    script = Script()
    exchange(script, 1000, None, "/api/v1/forward_backward")
    if second is not None:
        exchange(script, second, None)
    script.tick(40_000)

    assert spells_of(script) == []


def test_an_upload_that_takes_long_is_no_silence_while_heartbeats_are_answered() -> None:
    script = Script()
    exchange(script, 1000, None, "/api/v1/forward_backward")
    for at in (9000, 19_000, 29_000):
        exchange(script, at, at + 5, HEARTBEAT)
    exchange(script, 39_000, None)
    script.tick(40_000)

    assert spells_of(script) == []


def test_polls_that_are_held_are_no_silence() -> None:
    script = Script()
    for at in (1000, 9000):
        exchange(script, at, None, "/api/v1/retrieve_future", request_id=f"r{at}")
    script.tick(40_000)

    assert spells_of(script) == []


def test_what_is_sent_again_ends_the_wait_of_what_broke() -> None:
    script = Script()
    exchange(script, 100, 101, "/api/v1/optim_step", error=RESET, submission_id=7)
    exchange(script, 110, 111, "/api/v1/optim_step", submission_id=8)
    exchange(script, 601, 605, "/api/v1/optim_step", submission_id=7)
    script.tick(2000)

    [spell] = connections_of(script).spells
    [wait] = spell.waits.values()
    assert (wait.began_ns, wait.ended_ns(0)) == (script.ns(100), script.ns(601))
