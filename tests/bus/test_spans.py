"""Spans in every form: what they tell, who their parent is, and how they end when nobody ends them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, cast

import pytest
from tests.bus.hearing import Heard

from tinkertape import spans
from tinkertape.bus import Bus
from tinkertape.context import Event, SpanIds, current_span
from tinkertape.errors import EventNameError
from tinkertape.scopes import carry, scope
from tinkertape.spans import span
from tinkertape.trace_context import traceparent


@pytest.fixture
def events(bus: Bus) -> dict[str, Event]:
    """Whole events by name."""
    events: dict[str, Event] = {}

    def keep(name: str, measurements: Any, metadata: Any, config: Any) -> None:
        events[name] = Event.of(name, measurements, metadata)

    bus.attach_all("events", keep)
    return events


def test_a_block_emits_start_and_stop_on_one_clock(bus: Bus, heard: Heard) -> None:
    with span("my.work", {"path": "p"}, bus=bus) as mine:
        mine.add({"rows": 3, "duration": -1}, {"found": True})
        mine.add({"more": 1})

    [(start, began, _, _), (stop, ended, metadata, _)] = heard
    assert (start, stop) == ("my.work.start", "my.work.stop")
    assert set(began) == {"monotonic_time", "system_time"}
    assert ended["duration"] == ended["monotonic_time"] - began["monotonic_time"] >= 0
    assert (ended["rows"], ended["more"]) == (3, 1)
    assert metadata == {"path": "p", "found": True, "status": "success"}


def test_an_exception_is_told_and_goes_on_unchanged(bus: Bus, heard: Heard) -> None:
    with pytest.raises(KeyError) as caught, span("my.work", {"path": "p"}, bus=bus) as mine:
        mine.add({"rows": 3}, {"kind": "mine"})
        raise KeyError("k")

    assert heard.names == ["my.work.start", "my.work.exception"]
    metadata = heard[1][2]
    assert (metadata["path"], metadata["kind"], metadata["error_type"]) == ("p", "error", "KeyError")
    assert "KeyError" in metadata["stacktrace"]
    assert heard[1][1]["rows"] == 3
    assert caught.value.__cause__ is None


def test_an_end_that_is_no_success_is_said_by_adding_a_status(bus: Bus, heard: Heard) -> None:
    with span("my.work", {"status": "asked"}, bus=bus) as mine:
        mine.add(metadata={"status": "error"})
    with span("my.other", {"status": "asked"}, bus=bus):
        pass

    assert heard.metadata_of("my.work.stop")["status"] == "error"
    assert heard.metadata_of("my.other.stop")["status"] == "success"


def test_functions_and_coroutines_are_decorated(bus: Bus, heard: Heard) -> None:
    @span("my.call", bus=bus)
    def call(value: int) -> int:
        return value + 1

    @span("my.coroutine", bus=bus)
    async def coroutine(value: int) -> int:
        async with span("my.inner", bus=bus):
            return value + 1

    assert (call(1), asyncio.run(coroutine(1))) == (2, 2)
    assert call.__name__ == "call"
    assert heard.names == [
        "my.call.start",
        "my.call.stop",
        "my.coroutine.start",
        "my.inner.start",
        "my.inner.stop",
        "my.coroutine.stop",
    ]


class Worker:
    """What is called as a coroutine function, and is none to `inspect`."""

    async def __call__(self) -> str:
        await asyncio.sleep(0)
        return traceparent() or "no span"

    @staticmethod
    async def static() -> str:
        return await Worker()()


@pytest.mark.parametrize(
    "function",
    [Worker(), partial(Worker()), partial(Worker.static), staticmethod(Worker.static)],
    ids=["object", "partial of an object", "partial", "staticmethod"],
)
def test_whatever_is_called_as_a_coroutine_function_has_its_span_while_it_runs(
    bus: Bus, heard: Heard, function: Any
) -> None:
    assert asyncio.run(span("my.work", bus=bus)(function)()) != "no span"
    assert heard.names == ["my.work.start", "my.work.stop"]


def test_a_classmethod_is_decorated_in_either_order(bus: Bus, heard: Heard) -> None:
    class Model:
        @span("my.outside", bus=bus)
        @classmethod
        def outside(cls) -> type:
            return cls

        @classmethod
        @span("my.inside", bus=bus)
        def inside(cls) -> type:
            return cls

    assert Model.outside() is Model().inside() is Model
    assert heard.names == ["my.outside.start", "my.outside.stop", "my.inside.start", "my.inside.stop"]


@pytest.mark.parametrize("function", [property(len), None, 3])
def test_what_cannot_be_called_is_no_spans_function(bus: Bus, function: Any) -> None:
    with pytest.raises(TypeError, match="called"):
        span("my.work", bus=bus)(function)


def test_what_was_decorated_before_anybody_listened_is_heard_later(bus: Bus) -> None:
    decorated = span("my.call", {"a": 1}, bus=bus)(lambda: 7)
    block = span("my.block", bus=bus)
    heard = Heard()
    bus.attach_all("late", heard)

    assert decorated() == 7
    with block as mine:
        mine.add({"rows": 1})

    assert heard.names == ["my.call.start", "my.call.stop", "my.block.start", "my.block.stop"]
    assert heard[3][1]["rows"] == 1


def test_a_handler_that_comes_or_goes_during_a_span_hears_what_is_executed_while_it_is_there(bus: Bus) -> None:
    first, second = Heard(), Heard()
    bus.attach_all("first", first)

    with span("my.work", bus=bus):
        bus.detach("first")
        bus.attach_all("second", second)

    assert (first.names, second.names) == (["my.work.start"], ["my.work.stop"])


def test_only_the_end_may_be_listened_to(bus: Bus) -> None:
    heard = Heard()
    bus.attach("stop", "my.work.stop", heard)

    with span("my.work", {"a": 1}, bus=bus):
        pass

    assert heard.names == ["my.work.stop"]


def test_the_same_span_object_may_begin_again(bus: Bus, heard: Heard) -> None:
    mine = span("my.work", bus=bus)
    with span("my.outer", bus=bus), mine:
        mine.add({"rows": 1})
    with mine:
        pass

    again = heard[-1]
    assert again[0] == "my.work.stop"
    assert "rows" not in again[1]
    assert "parent_span_id" not in again[2]


@pytest.mark.parametrize("around", [None, "my.outer"])
def test_the_end_has_the_metadata_as_they_were_at_the_start(bus: Bus, heard: Heard, around: str | None) -> None:
    given: dict[str, Any] = {"rows": 3, "path": "p"}
    bus.attach("changes", "my.work.start", lambda event, measured, metadata, config: metadata.update(path="mine"))

    with span(around, bus=bus) if around else contextlib.nullcontext(), span("my.work", given, bus=bus):
        given.update(rows=4, late=True)

    carried = heard.metadata_of("my.work.stop")
    assert carried.items() >= {"rows": 3, "path": "p", "status": "success"}.items()
    assert "late" not in carried


@pytest.mark.parametrize("prefix", ["a..b", "a b", ["a", 1], 7])
def test_a_prefix_that_is_no_name_is_refused(bus: Bus, prefix: Any) -> None:
    with pytest.raises(EventNameError):
        span(prefix, bus=bus)


def test_an_interrupt_in_a_handler_leaves_no_span_behind(bus: Bus) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    for end in ("start", "stop"):
        bus.attach(end, f"my.{end}.{end}", interrupt)
        with pytest.raises(KeyboardInterrupt), span(f"my.{end}", bus=bus):
            pass
        assert current_span.get() is None


def test_prefixes_that_a_program_makes_up_do_not_fill_the_memory(bus: Bus, heard: Heard, monkeypatch: Any) -> None:
    monkeypatch.setattr(spans, "PREFIXES_MAX", 10)

    for number in range(100):
        with span(f"my.work_{number}", bus=bus):
            pass

    assert len(bus.span_dispatch) <= 10
    assert len(heard) == 200


# --- who is whose parent ---


def test_a_nested_span_knows_its_parent(bus: Bus, events: dict[str, Event]) -> None:
    with span("outer", bus=bus), span("inner", bus=bus):
        pass

    for end in ("start", "stop"):
        assert events[f"inner.{end}"].metadata["parent_span_id"] == events["outer.start"].span_id
        assert "parent_span_id" not in events[f"outer.{end}"].metadata
    assert events["inner.stop"].trace_id == events["outer.stop"].trace_id


def test_a_span_that_nobody_hears_is_nobodys_parent(bus: Bus) -> None:
    heard = Heard()
    bus.attach_many("heard", ["outer.start", "inner.start"], heard)

    with span("outer", bus=bus) as outer, span("between", bus=bus), span("inner", bus=bus):
        pass

    assert heard.metadata_of("inner.start")["parent_span_id"] == outer.span_id  # type: ignore[attr-defined]


def test_events_after_a_span_are_not_its_own(bus: Bus, events: dict[str, Event]) -> None:
    with span("my.work", bus=bus):
        bus.execute("inside.done", {})
    bus.execute("outside.done", {})

    assert events["inside.done"].span_id == events["my.work.start"].span_id
    assert events["outside.done"].span_id is None


def test_concurrent_tasks_have_the_span_that_each_was_made_in_as_parent(bus: Bus, events: dict[str, Event]) -> None:
    async def work(name: str, turns: list[asyncio.Event]) -> None:
        with span(f"work.{name}", bus=bus):
            turns[0].set()
            await turns[1].wait()
            with span(f"inner.{name}", bus=bus):
                pass

    async def main() -> None:
        a, b = asyncio.Event(), asyncio.Event()
        with span("outer", bus=bus):
            await asyncio.gather(work("a", [a, b]), work("b", [b, a]))

    asyncio.run(main())

    outer = events["outer.start"].span_id
    for name in "ab":
        assert events[f"work.{name}.start"].metadata["parent_span_id"] == outer
        assert events[f"inner.{name}.start"].metadata["parent_span_id"] == events[f"work.{name}.start"].span_id


def test_a_task_that_outlives_the_span_it_was_made_in_keeps_it_as_parent(bus: Bus, events: dict[str, Event]) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def follow_up() -> None:
            await go.wait()
            with span("follow_up", bus=bus):
                pass
            with span("and_more", bus=bus):
                pass

        with span("outer", bus=bus):
            task = asyncio.create_task(follow_up())
        go.set()
        await task

    asyncio.run(main())

    outer = events["outer.start"]
    for name in ("follow_up.start", "and_more.start"):
        assert (events[name].metadata["parent_span_id"], events[name].trace_id) == (outer.span_id, outer.trace_id)


def test_spans_that_end_in_the_wrong_order_leave_none_behind(bus: Bus, heard: Heard) -> None:
    first, second, third = (span(name, bus=bus) for name in ("first", "second", "third"))
    for each in (first, second, third):
        each.__enter__()

    second.__exit__(None, None, None)
    first.__exit__(None, None, None)
    assert current_span.get() is third
    third.__exit__(None, None, None)

    assert current_span.get() is None


def test_a_span_that_ends_in_a_copied_or_foreign_context_harms_nobody(bus: Bus, heard: Heard) -> None:
    mine = span("my.work", bus=bus)
    copy_context().run(mine.__enter__)
    mine.__exit__(None, None, None)
    assert current_span.get() is None

    with span("outer", bus=bus) as outer:
        copy_context().run(outer.__exit__, None, None, None)
        assert current_span.get() is outer
    assert current_span.get() is None


def test_a_span_that_ended_elsewhere_is_nobodys_parent(bus: Bus, heard: Heard) -> None:
    async def rows() -> AsyncIterator[int]:
        with span("my.rows", bus=bus):
            yield 1

    async def main() -> None:
        before = current_span.get()
        async for _ in rows():
            break
        gc.collect()
        while "my.rows.exception" not in heard.names:  # the loop closes what was dropped in a task of its own
            await asyncio.sleep(0)
        with span("my.next", bus=bus):
            pass
        assert current_span.get() is before

    asyncio.run(main())
    assert "parent_span_id" not in heard.metadata_of("my.next.start")

    heard.clear()
    with span("my.outer", bus=bus) as outer:
        asyncio.run(main())
        assert heard.metadata_of("my.next.start")["parent_span_id"] == outer.span_id  # type: ignore[attr-defined]


def test_a_span_that_ends_out_of_turn_or_elsewhere_has_its_own_ids_at_both_ends(bus: Bus) -> None:
    ids: dict[str, tuple[str | None, str | None]] = {}

    def note(name: str, measurements: Any, metadata: Any, config: Any) -> None:
        event = Event.of(name, measurements, metadata)
        ids[name] = (event.span_id, event.trace_id)

    bus.attach_all("ids", note)

    early, late, elsewhere = (span(f"my.{name}", bus=bus) for name in ("early", "late", "elsewhere"))
    early.__enter__()
    late.__enter__()
    early.__exit__(None, None, None)  # before one that began inside it
    elsewhere.__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(elsewhere.__exit__, None, None, None).result()
    late.__exit__(None, None, None)

    assert all(ids[f"my.{name}.start"] == ids[f"my.{name}.stop"] for name in ("early", "late", "elsewhere"))
    assert len(set(ids.values())) == 3
    with span("my.next", bus=bus):
        pass
    assert current_span.get() is None


def test_a_span_that_ended_elsewhere_may_begin_again(bus: Bus, heard: Heard) -> None:
    mine = span("my.work", bus=bus)
    copy_context().run(mine.__enter__)
    mine.__exit__(None, None, None)
    with mine:
        pass
    with mine:
        copy_context().run(mine.__exit__, None, None, None)
        with mine:
            pass

    assert current_span.get() is None
    assert not [event for event in heard if event[0] == "my.work.start" and "parent_span_id" in event[2]]


@pytest.mark.parametrize("in_time", [True, False])
def test_a_span_inside_itself_is_a_span_of_its_own(bus: Bus, in_time: bool) -> None:
    heard = Heard()
    if in_time:
        bus.attach_all("heard", heard)
    mine = span("my.work", {"a": 1}, bus=bus)
    bus.attach_all("late", lambda *_: None)
    if not in_time:
        bus.attach_all("heard", heard)

    ids = []
    with span("my.outer", bus=bus), mine as first:
        ids.append(first.span_id)
        with mine as second:
            ids.append(second.span_id)
            with mine as third:
                third.add({"rows": 3})
        with span("my.other", bus=bus):
            pass
    assert current_span.get() is None

    parents = [(event[0], event[2].get("parent_span_id")) for event in heard if event[0].startswith("my.work")]
    starts, stops = parents[:3], parents[3:]
    assert stops == [("my.work.stop", parent) for _, parent in reversed(starts)]
    assert [parent for _, parent in starts[1:]] == ids and len({parent for _, parent in starts}) == 3
    assert heard.metadata_of("my.other.start")["parent_span_id"] == ids[0]
    durations = [event[1]["duration"] for event in heard if event[0] == "my.work.stop"]
    assert durations == sorted(durations)
    assert [event[1].get("rows") for event in heard if event[0] == "my.work.stop"] == [3, None, None]


@pytest.mark.parametrize("in_time", [True, False])
def test_a_span_inside_another_one_that_is_inside_it_is_a_span_of_its_own(bus: Bus, in_time: bool) -> None:
    heard = Heard()
    if in_time:
        bus.attach_all("heard", heard)
    one, other = span("one", {"a": 1}, bus=bus), span("other", bus=bus)
    if not in_time:
        bus.attach_all("heard", heard)

    ids = []
    for _ in range(2):
        for each in (one, other, one, one, other, one):
            ids.append(each.__enter__().span_id)  # type: ignore[attr-defined]
        for place, each in enumerate((one, other, one, one, other, one)):
            each.add({"place": place})
            each.__exit__(None, None, None)
            assert (current_span.get() is None) == (place == 5)

    starts = [event for event in heard if event[0].endswith(".start")]
    stops = [event for event in heard if event[0].endswith(".stop")]
    assert [event[2].get("parent_span_id") for event in starts] == [None, *ids[:5], None, *ids[6:11]]
    assert len(set(ids)) == 12
    ends = [(event[0].removesuffix(".stop"), event[2].get("parent_span_id"), event[1]["place"]) for event in stops]
    names = ["one", "other", "one", "one", "other", "one"]
    assert (
        ends[:6]
        == [(name, parent, 5 - at) for at, (name, parent) in enumerate(zip(names, [None, *ids[:5]], strict=True))][::-1]
    )
    began = [event[1]["monotonic_time"] for event in starts]
    assert [event[1]["monotonic_time"] - event[1]["duration"] for event in stops[:6]] == began[5::-1]


def test_one_span_object_in_several_tasks_is_a_span_of_its_own_in_each(bus: Bus, heard: Heard) -> None:
    mine = span("my.work", bus=bus)

    async def work(number: int, before: asyncio.Event, after: asyncio.Event) -> str:
        async with mine as here:
            after.set()
            await before.wait()
            mine.add({"number": number})
            own = cast(SpanIds, here).span_id
        assert current_span.get() is None
        return own

    async def run() -> list[str]:
        began, may_end = asyncio.Event(), asyncio.Event()
        may_end.set()
        return await asyncio.gather(work(0, began, asyncio.Event()), work(1, may_end, began))

    ids = asyncio.run(run())

    assert len(set(ids)) == 2
    assert [event[1]["number"] for event in heard if event[0] == "my.work.stop"] == [1, 0]
    with mine as again:
        assert cast(SpanIds, again).span_id not in ids


def test_what_began_unheard_ends_unheard_also_where_the_same_span_was_heard_before(bus: Bus) -> None:
    mine, heard = span("my.work", bus=bus), Heard()
    for _ in range(2):
        with mine:
            bus.attach_all("heard", heard)
            with mine:
                pass
        bus.detach("heard")

    assert heard.names == ["my.work.start", "my.work.stop"] * 2


def test_tasks_that_each_make_the_next_inside_a_span_and_a_scope_keep_none_of_those_before(
    bus: Bus, heard: Heard
) -> None:
    made: list[weakref.ref[Any]] = []

    class Payload:
        """What a span's metadata keep alive."""

    async def turn(left: int, done: asyncio.Future[None]) -> None:
        payload = Payload()
        made.append(weakref.ref(payload))
        with scope(left=left, payload=payload), span("my.turn", {"payload": payload}, bus=bus):
            if left:
                asyncio.get_running_loop().call_soon(follow, left - 1, done)
            else:
                done.set_result(None)

    tasks: set[Any] = set()

    def follow(left: int, done: asyncio.Future[None]) -> None:
        task = asyncio.ensure_future(turn(left, done))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def main() -> int:
        done = asyncio.get_running_loop().create_future()
        await turn(100, done)
        await done
        heard.clear()
        gc.collect()
        return sum(reference() is not None for reference in made)

    assert asyncio.run(main()) <= 3


def test_one_span_carried_into_many_threads_has_one_id_and_one_trace(bus: Bus, heard: Heard) -> None:
    together = threading.Barrier(8)

    def ask() -> str | None:
        together.wait()
        return traceparent()

    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            with span("my.work", bus=bus):
                assert len({found.result() for found in [pool.submit(carry(ask)) for _ in range(8)]}) == 1


def test_threads_that_begin_the_same_span_object_have_each_their_own(bus: Bus, heard: Heard) -> None:
    mine = span("my.work", bus=bus)
    interval = sys.getswitchinterval()

    def work() -> int:
        left = 0
        for _ in range(1_000):
            with mine:
                pass
            left += traceparent() is not None
        return left

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            left = [found.result() for found in [pool.submit(work) for _ in range(4)]]
    finally:
        sys.setswitchinterval(interval)

    assert left == [0, 0, 0, 0]
    assert heard.names.count("my.work.stop") == heard.names.count("my.work.start") == 4_000


# --- generators ---


def numbers() -> Generator[int, int | None, str]:
    yield 1
    yield 2
    return "done"


def test_a_generator_is_one_span_from_its_first_item_until_it_is_done(bus: Bus, heard: Heard) -> None:
    source = span("my.rows", bus=bus)(numbers)()
    assert heard.names == []

    assert next(source) == 1
    assert heard.names == ["my.rows.start"]
    assert next(source) == 2
    with pytest.raises(StopIteration) as end:
        next(source)

    assert end.value.value == "done"
    assert heard.names == ["my.rows.start", "my.rows.stop"]


def test_a_generator_is_sent_to_thrown_into_and_returns_as_without_a_span(bus: Bus, heard: Heard) -> None:
    def echo() -> Generator[Any, Any, str]:
        received: Any = None
        while received != "stop":
            try:
                received = yield received
            except LookupError as error:
                received = f"caught {error}"
        return "returned"

    for make in (echo, span("my.echo", bus=bus)(echo)):
        source = make()
        assert next(source) is None
        assert source.send(1) == 1
        assert source.throw(LookupError("it")) == "caught it"
        with pytest.raises(StopIteration) as end:
            source.send("stop")
        assert end.value.value == "returned"
    assert heard.names == ["my.echo.start", "my.echo.stop"]


def test_between_two_items_the_current_span_is_the_callers(bus: Bus, events: dict[str, Event]) -> None:
    @span("my.rows", bus=bus)
    def rows() -> Iterator[Any]:
        for number in range(2):
            with span(f"my.row_{number}", bus=bus):
                yield current_span.get()

    seen = []
    for inside in rows():
        seen.append((inside, current_span.get()))
        with span("callers.work", bus=bus):
            pass

    assert all(inside is not None and outside is None for inside, outside in seen)
    assert current_span.get() is None
    assert "parent_span_id" not in events["callers.work.start"].metadata
    for number in range(2):
        assert events[f"my.row_{number}.start"].metadata["parent_span_id"] == events["my.rows.start"].span_id


def test_a_generator_that_is_resumed_inside_another_span_gives_it_back(bus: Bus, heard: Heard) -> None:
    source = span("my.rows", bus=bus)(numbers)()
    with span("one", bus=bus) as one:
        next(source)
        assert current_span.get() is one
    with span("two", bus=bus) as two:
        assert list(source) == [2]
        assert current_span.get() is two
    assert current_span.get() is None


def test_a_dropped_generator_ends_as_an_exception_with_the_reason(bus: Bus, heard: Heard) -> None:
    tidied: list[str] = []

    @span("my.rows", {"path": "p"}, bus=bus)
    def rows() -> Iterator[int]:
        try:
            yield 1
        finally:
            tidied.append("up")

    for _ in rows():
        break
    gc.collect()

    assert (heard.names, tidied) == (["my.rows.start", "my.rows.exception"], ["up"])
    metadata = heard[1][2]
    assert (metadata["path"], metadata["kind"], metadata["error_type"]) == ("p", "exit", "GeneratorExit")
    assert metadata["reason"] == "dropped before its end"
    assert current_span.get() is None


def test_an_async_generator_is_a_span_with_all_that_a_generator_has(bus: Bus, events: dict[str, Event]) -> None:
    @span("my.rows", bus=bus)
    async def rows() -> AsyncIterator[Any]:
        received = yield 1
        try:
            received = yield received
        except LookupError:
            yield current_span.get()

    async def main() -> None:
        source: Any = rows()
        assert await source.asend(None) == 1
        assert current_span.get() is None
        assert await source.asend("sent") == "sent"
        inside = await source.athrow(LookupError())
        assert inside is not None
        assert current_span.get() is None
        with pytest.raises(StopAsyncIteration):
            await anext(source)

    asyncio.run(main())

    assert list(events) == ["my.rows.start", "my.rows.stop"]


def test_an_async_generator_left_in_its_midst_ends_as_an_exception(bus: Bus, heard: Heard) -> None:
    @span("my.rows", bus=bus)
    async def rows() -> AsyncIterator[int]:
        while True:
            yield 1

    async def main() -> None:
        async for _ in rows():
            break
        gc.collect()
        await asyncio.sleep(0)  # the loop closes what was dropped in a task of its own
        await asyncio.sleep(0)

    asyncio.run(main())

    assert heard.names == ["my.rows.start", "my.rows.exception"]
    assert heard[1][2]["reason"] == "dropped before its end"


# --- what was not ended ---


def test_a_cancelled_task_ends_its_spans_as_exceptions(bus: Bus, heard: Heard) -> None:
    @span("my.decorated", bus=bus)
    async def wait() -> None:
        async with span("my.block", bus=bus):
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert heard.names == ["my.decorated.start", "my.block.start", "my.block.exception", "my.decorated.exception"]
    for _, _, metadata, _ in heard[2:]:
        assert (metadata["kind"], metadata["reason"], metadata["error_type"]) == ("exit", "cancelled", "CancelledError")


def test_a_coroutine_that_is_never_finished_ends_as_an_exception(bus: Bus, heard: Heard) -> None:
    @span("my.work", bus=bus)
    async def work() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        coroutine = work()
        coroutine.send(None)  # as a loop would
        coroutine.close()

    asyncio.run(main())

    assert heard.names == ["my.work.start", "my.work.exception"]
    assert heard[1][2]["reason"] == "dropped before its end"
