"""W3C Trace Context: the cases of the recommendation, read and written."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bus.hearing import Heard

from tinkertape.bus import Bus
from tinkertape.context import Event, current_span
from tinkertape.scopes import carry
from tinkertape.spans import span
from tinkertape.trace_context import parse_traceparent, scope_from, traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        HEADER.encode(),
        f" \t{HEADER} ",
        f"00-{TRACE}-{SPAN}-ff",  # flags of later levels are no reason to refuse
        f"01-{TRACE}-{SPAN}-01",  # a later version is read by the fields of this one
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
    ],
)
def test_a_header_of_the_form_names_the_parent(bus: Bus, heard: Heard, header: str | bytes) -> None:
    with scope_from(header), span("my.work", bus=bus) as mine:
        event = Event.of("e.x", {})
        assert event.trace_id == TRACE
        assert event.span_id == mine.span_id != SPAN  # type: ignore[attr-defined]

    assert heard.metadata_of("my.work.start")["parent_span_id"] == SPAN
    assert current_span.get() is None


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        7,
        HEADER.upper(),
        f"{HEADER}-more",  # version 00 ends there
        f"{HEADER}.",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}",
        f"00_{TRACE}_{SPAN}_01",
        f"{HEADER}\n",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",  # a digit, but none of ASCII
        f"{HEADER},{HEADER}",
    ],
)
def test_a_header_that_is_not_of_the_form_is_ignored(bus: Bus, heard: Heard, header: Any) -> None:
    with span("outer", bus=bus) as outer, scope_from(header):
        assert current_span.get() is outer
        with span("my.work", bus=bus):
            pass

    assert heard.metadata_of("my.work.start")["parent_span_id"] == outer.span_id  # type: ignore[attr-defined]


def test_the_current_span_is_written(bus: Bus, heard: Heard) -> None:
    assert traceparent() is None

    with span("my.work", bus=bus) as mine:
        assert traceparent() == f"00-{mine.trace_id}-{mine.span_id}-01"  # type: ignore[attr-defined]
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", str(traceparent()))


def test_where_no_span_of_ours_is_heard_what_came_in_goes_on_as_it_came(bus: Bus) -> None:
    with scope_from(HEADER), span("my.work", bus=bus):
        assert traceparent() == HEADER


@pytest.mark.parametrize(("flags", "written"), [("00", "00"), ("01", "01"), ("03", "01"), ("fe", "00")])
def test_sampled_goes_on_as_whoever_began_the_trace_said(bus: Bus, heard: Heard, flags: str, written: str) -> None:
    with scope_from(f"00-{TRACE}-{SPAN}-{flags}"), span("outer", bus=bus), span("inner", bus=bus):
        assert str(traceparent()).endswith(f"-{written}")


def test_a_trace_goes_through_a_header_from_one_program_to_another(bus: Bus) -> None:
    events: dict[str, Event] = {}
    bus.attach_all("of", lambda name, *data: events.update({name: Event.of(name, *data[:2])}))

    with span("client", bus=bus):
        header = traceparent()
    with scope_from(header), span("server", bus=bus):
        pass

    assert events["server.start"].trace_id == events["client.start"].trace_id
    assert events["server.start"].metadata["parent_span_id"] == events["client.start"].span_id


def test_one_object_may_be_entered_by_several_tasks_and_inside_itself(bus: Bus, heard: Heard) -> None:
    remote = scope_from(HEADER)

    async def answer() -> set[str | None]:
        with span("my.work", bus=bus) as mine:
            with remote, remote:
                await asyncio.sleep(0)
                inside = traceparent()
            await asyncio.sleep(0)
            assert current_span.get() is mine
        return {inside, traceparent()}

    async def main() -> list[set[str | None]]:
        return await asyncio.gather(*(answer() for _ in range(3)))

    assert asyncio.run(main()) == [{HEADER, None}] * 3


def test_what_ends_out_of_turn_or_elsewhere_leaves_no_trace_behind(bus: Bus, heard: Heard) -> None:
    inside, remote, around = span("my.inside", bus=bus), scope_from(HEADER), span("my.around", bus=bus)

    remote.__enter__()
    inside.__enter__()
    remote.__exit__(None, None, None)
    inside.__exit__(None, None, None)
    assert traceparent() is None

    around.__enter__()
    remote.__enter__()
    around.__exit__(None, None, None)
    remote.__exit__(None, None, None)
    assert traceparent() is None

    remote.__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(remote.__exit__, None, None, None).result()
    assert traceparent() is None

    with span("my.next", bus=bus):
        pass
    assert "parent_span_id" not in heard.metadata_of("my.next.start")
    assert current_span.get() is None


def test_a_trace_that_came_in_is_carried_into_a_thread(bus: Bus) -> None:
    with scope_from(HEADER):
        carried = carry(traceparent)

    assert (carried(), traceparent()) == (HEADER, None)


@given(trace=st.integers(1, 2**128 - 1), own=st.integers(1, 2**64 - 1), flags=st.integers(0, 255))
def test_every_header_of_the_form_is_read_as_it_was_written(trace: int, own: int, flags: int) -> None:
    remote = parse_traceparent(f"00-{trace:032x}-{own:016x}-{flags:02x}")

    assert remote is not None
    assert (int(remote.trace_id, 16), int(remote.span_id, 16), remote.trace[1]) == (trace, own, bool(flags & 1))


@given(st.text(max_size=80) | st.binary(max_size=80))
def test_no_header_whatever_it_is_raises(header: str | bytes) -> None:
    with scope_from(header):
        entered = True

    assert entered
