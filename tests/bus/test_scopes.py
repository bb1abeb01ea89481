"""Attributes on every event inside: where they reach, what carries them, and that they end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import pytest
from tests.bus.hearing import Heard

from tinkertape.bus import Bus
from tinkertape.context import Event, current_scope, current_span
from tinkertape.scopes import carry, scope, step
from tinkertape.spans import span
from tinkertape.trace_context import scope_from, traceparent


def here() -> dict[str, Any]:
    """The scope that an event has which is executed now."""
    return dict(Event.of("e.x", {}).scope)


def ids() -> tuple[str | None, str | None]:
    event = Event.of("e.x", {})
    return event.trace_id, event.span_id


def test_events_inside_have_the_attributes_and_events_outside_have_not() -> None:
    with scope(step=3, phase="train"):
        assert here() == {"step": 3, "phase": "train"}
        with scope(phase="sample", batch=1):
            assert here() == {"step": 3, "phase": "sample", "batch": 1}
        assert here() == {"step": 3, "phase": "train"}
    assert here() == {}


def test_an_exception_ends_a_scope() -> None:
    with pytest.raises(KeyError), scope(step=3):
        raise KeyError

    assert here() == {}


def test_a_scope_may_be_entered_again_inside_itself_and_after() -> None:
    mine = scope(step=3)
    with mine, scope(step=4), mine:
        assert here() == {"step": 3}
    with mine:
        assert here() == {"step": 3}
    assert here() == {}


def test_one_scope_that_several_tasks_are_inside_at_once_ends_in_each() -> None:
    """A constant of a module, say. In the order in which they began, and the other way round."""
    constant = scope(phase="train")
    after: list[dict[str, Any]] = []

    async def work(began: asyncio.Event, go_on: asyncio.Event) -> None:
        with constant:
            began.set()
            await go_on.wait()
            assert here() == {"phase": "train"}
        after.append(here())

    async def main() -> None:
        for order in (1, -1):
            began, go_on = ([asyncio.Event() for _ in range(3)] for _ in range(2))
            tasks = [asyncio.create_task(work(*events)) for events in zip(began, go_on, strict=True)]
            for event in began:
                await event.wait()
            for task, event in [*zip(tasks, go_on, strict=True)][::order]:
                event.set()
                await task

    asyncio.run(main())
    assert after == [{}] * 6


def test_tasks_made_inside_have_it_and_do_not_disturb_each_other() -> None:
    async def work(number: int, others: asyncio.Barrier) -> dict[str, Any]:
        with scope(task=number):
            await others.wait()
            return here()

    async def main() -> list[dict[str, Any]]:
        others = asyncio.Barrier(3)
        with scope(step=3):
            return await asyncio.gather(*(work(number, others) for number in range(3)), asyncio.to_thread(here))

    assert asyncio.run(main()) == [*({"step": 3, "task": number} for number in range(3)), {"step": 3}]


def test_a_task_that_outlives_the_scope_keeps_it() -> None:
    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        go = asyncio.Event()

        async def follow_up() -> tuple[dict[str, Any], dict[str, Any]]:
            await go.wait()
            with scope(more=1):
                inside = here()
            return inside, here()

        with scope(step=3):
            task = asyncio.create_task(follow_up())
        go.set()
        return await task

    assert asyncio.run(main()) == ({"step": 3, "more": 1}, {"step": 3})


def test_scopes_that_end_in_the_wrong_order_leave_nothing_behind() -> None:
    def inside(**attributes: Any) -> Iterator[None]:
        with scope(**attributes):
            yield

    first, second = inside(a=1), inside(b=2)
    next(first)
    next(second)
    assert list(first) == []
    assert here() == {"a": 1, "b": 2}  # the second began inside the first
    assert list(second) == []

    assert here() == {}


def test_a_scope_that_ends_in_another_thread_does_not_change_that_threads() -> None:
    @contextmanager
    def inside() -> Iterator[None]:
        with scope(a=1):
            yield

    manager = inside()
    thread = threading.Thread(target=manager.__enter__)
    thread.start()
    thread.join()

    with scope(b=2):
        manager.__exit__(None, None, None)
        assert here() == {"b": 2}


def test_a_scope_that_ended_in_another_thread_is_in_no_scope_that_begins_later() -> None:
    first, second = scope(a=1), scope(b=2)
    with scope(c=3):
        for each in (first, second):
            each.__enter__()
        for each in (first, second):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(each.__exit__, None, None, None).result()

        with scope(d=4):
            assert here() == {"c": 3, "d": 4}
        assert here() == {"c": 3}
    assert here() == {}


def test_of_an_async_generator_left_in_its_midst_no_scope_and_no_trace_stays() -> None:
    closed = []

    async def rows() -> AsyncIterator[int]:
        try:
            with scope(a=1), scope_from(f"00-{'a' * 32}-{'b' * 16}-01"):
                yield 1
        finally:
            closed.append(True)

    async def main() -> None:
        async for _ in rows():
            break
        gc.collect()
        while not closed:  # the loop closes what was dropped in a task of its own, in a copy of this context
            await asyncio.sleep(0)

        assert traceparent() is None
        assert carry(lambda: (here(), ids()))() == ({}, (None, None))
        with scope(b=2):
            assert here() == {"b": 2}
        assert here() == {}

    asyncio.run(main())


# --- carried ---


def test_a_thread_has_no_scope_of_its_maker_unless_it_is_carried(bus: Bus, heard: Heard) -> None:
    seen: list[Any] = []
    with scope(step=3), span("my.work", bus=bus):
        for target in (lambda: seen.append((here(), ids())), carry(lambda: seen.append((here(), ids())))):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        assert seen == [({}, (None, None)), ({"step": 3}, ids())]
    assert here() == {}


def test_one_carried_function_runs_in_many_threads_of_an_executor_at_once() -> None:
    together = threading.Barrier(4)

    def work(number: int) -> tuple[int, dict[str, Any]]:
        with scope(number=number):
            together.wait()
            return number, here()

    with ThreadPoolExecutor(4) as pool:
        with scope(step=3):
            found = list(pool.map(carry(work), range(4)))
        assert found == [(number, {"step": 3, "number": number}) for number in range(4)]
        assert pool.submit(here).result() == {}  # the executor's thread is as it was


def test_a_carried_function_is_carried_into_another_process(bus: Bus, heard: Heard) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, scope(step=3), span("my.work", bus=bus):
        assert pool.submit(carry(here)).result() == {"step": 3}
        assert pool.submit(carry(ids)).result() == ids()


def test_a_coroutine_function_is_carried_onto_the_loop_of_another_thread() -> None:
    async def work(value: int) -> tuple[int, dict[str, Any]]:
        await asyncio.sleep(0)
        return value, here()

    with ThreadPoolExecutor(1) as pool, scope(step=3):
        carried = carry(work)
        assert asyncio.iscoroutinefunction(carried)
        assert pool.submit(lambda: asyncio.run(carried(7))).result() == (7, {"step": 3})


def test_an_object_that_is_called_as_a_coroutine_function_is_carried_as_one() -> None:
    class Work:
        async def __call__(self) -> dict[str, Any]:
            await asyncio.sleep(0)
            return here()

    with scope(step=3):
        carried = carry(Work())

    assert asyncio.run(carried()) == {"step": 3}


def test_what_is_carried_is_the_scope_of_then_and_what_is_returned_and_raised_goes_on() -> None:
    with scope(step=3):
        carried = carry(lambda value: (value, here()))
        failing = carry(lambda: [][0])
    with scope(step=4):
        assert carried(1) == (1, {"step": 3})
        with pytest.raises(IndexError):
            failing()
        assert here() == {"step": 4}


@pytest.mark.parametrize("given", [None, 3, "work"])
def test_what_is_no_function_cannot_be_carried(given: Any) -> None:
    with pytest.raises(TypeError, match="carry the function"):
        carry(given)


def test_a_generator_function_cannot_be_carried() -> None:
    def rows() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        carry(rows)


# --- steps ---


def test_each_turn_of_a_loop_has_its_number_and_after_it_the_scope_is_as_before() -> None:
    with scope(run="r"):
        seen = [(batch, here()) for batch in step("ab")]
        assert here() == {"run": "r"}

    assert seen == [("a", {"run": "r", "step": 0}), ("b", {"run": "r", "step": 1})]


def test_asking_for_a_batch_belongs_to_its_step() -> None:
    asked: list[Any] = []

    def batches() -> Iterator[int]:
        for number in range(2):
            asked.append(here()["step"])
            yield number

    assert list(step(batches(), start=5)) == [0, 1]
    assert asked == [5, 6]


def test_numbers_go_on_in_the_next_epoch() -> None:
    steps = step([10, 20], start=1)

    assert [(here()["step"], batch) for _ in range(2) for batch in steps] == [(1, 10), (2, 20), (3, 10), (4, 20)]
    assert len(steps) == 2


def test_break_and_exceptions_end_the_step() -> None:
    for _ in step(range(3)):
        assert here() == {"step": 0}
        break
    assert here() == {}

    with pytest.raises(KeyError):
        for _ in step(range(3)):
            raise KeyError
    gc.collect()
    assert here() == {}


def test_asynchronous_batches_are_gone_through_with_async_for() -> None:
    async def batches() -> AsyncIterator[str]:
        for batch in "abc":
            await asyncio.sleep(0)
            yield batch

    async def main() -> tuple[list[Any], dict[str, Any]]:
        seen = []
        async for batch in step(batches()):
            seen.append((batch, here()))
            if batch == "b":
                break
        return seen, here()

    assert asyncio.run(main()) == ([("a", {"step": 0}), ("b", {"step": 1})], {})
    with pytest.raises(TypeError, match="async for"):
        iter(step(batches()))
    with pytest.raises(TypeError, match="without async"):
        aiter(step([1]))


def test_nothing_is_left_of_all_this() -> None:
    assert (dict(current_scope.get()), current_span.get()) == ({}, None)
