"""`capture_exceptions`: whatever passes is recorded once and goes on unchanged, through every kind of function."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tinkertape.bus import attach_all, detach
from tinkertape.capture import capture_exceptions
from tinkertape.tape import open_tape
from tinkertape.telemetry import Telemetry, record


@pytest.fixture
def told() -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    told: list[tuple[str, Mapping[str, Any]]] = []
    attach_all("told", lambda name, _, metadata, __: told.append((name, metadata)), prefix="exception")
    yield told
    detach("told")


Told = list[tuple[str, Mapping[str, Any]]]


def test_a_function_s_exception_is_told_with_its_traceback_and_goes_on(told: Told) -> None:
    @capture_exceptions
    def load() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError) as caught:
        load()

    [(name, metadata)] = told
    assert name == "exception.load"
    assert (metadata["exception_type"], metadata["exception_message"]) == ("KeyError", "'k'")
    assert 'raise KeyError("k")' in metadata["traceback"]
    assert (metadata["fault_owner"], metadata["is_user_error"]) == ("user", True)
    assert caught.value.args == ("k",)


def test_an_exception_is_told_once_however_many_decorators_it_passes(told: Told) -> None:
    @capture_exceptions
    def inner() -> None:
        raise ValueError

    @capture_exceptions(severity="CRITICAL")
    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match=r"^$"):
        outer()

    assert [name for name, _ in told] == ["exception.inner"]


def test_methods_coroutines_generators_and_blocks(told: Told) -> None:
    class Client:
        @capture_exceptions()
        def method(self) -> int:
            raise RuntimeError("m")

        @capture_exceptions
        async def coroutine(self) -> None:
            raise RuntimeError("c")

        @capture_exceptions
        def generator(self) -> Iterator[int]:
            yield 1
            raise RuntimeError("g")

        @capture_exceptions
        async def async_generator(self) -> AsyncIterator[int]:
            yield 1
            raise RuntimeError("a")

    async def consume(source: AsyncIterator[int]) -> list[int]:
        return [value async for value in source]

    client = Client()
    calls: list[Any] = [
        client.method,
        lambda: asyncio.run(client.coroutine()),
        lambda: list(client.generator()),
        lambda: asyncio.run(consume(client.async_generator())),
    ]
    for call in calls:
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(RuntimeError), capture_exceptions():
        raise RuntimeError("b")

    names = [name.removeprefix("exception.") for name, _ in told]
    assert names == ["method", "coroutine", "generator", "async_generator", "block"]


def test_results_pass_unchanged_through_every_kind(told: Told) -> None:
    @capture_exceptions
    def generator() -> Iterator[int]:
        received = yield 1
        yield received

    @capture_exceptions
    async def async_generator() -> Any:
        received = yield 1
        yield received

    async def talk() -> list[Any]:
        source = async_generator()
        return [await anext(source), await source.asend("x")]

    source: Any = generator()
    assert [next(source), source.send("x")] == [1, "x"]
    assert asyncio.run(talk()) == [1, "x"]
    assert told == []


def test_cancellation_and_exit_are_no_exceptions_to_record(told: Told) -> None:
    with pytest.raises(SystemExit), capture_exceptions():
        raise SystemExit(3)

    assert told == []


def test_no_frame_of_ours_is_in_a_traceback_of_any_kind_of_function(told: Told) -> None:
    @capture_exceptions
    def plain() -> None:
        raise RuntimeError

    @capture_exceptions
    def generator() -> Iterator[int]:
        yield 1
        plain()

    @capture_exceptions
    async def coroutine() -> None:
        list(generator())

    @capture_exceptions
    async def async_generator() -> AsyncIterator[int]:
        yield 1
        await coroutine()

    async def consume() -> None:
        async for _ in async_generator():
            pass

    with pytest.raises(RuntimeError) as caught:
        asyncio.run(consume())

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-5:] == ["consume", "async_generator", "coroutine", "generator", "plain"]
    assert "tinkertape/capture.py" not in told[0][1]["traceback"]


def test_a_method_records_with_what_its_object_provides(tmp_path: Path) -> None:
    class Client:
        def __init__(self, telemetry: Telemetry) -> None:
            self._telemetry = telemetry

        def get_telemetry(self) -> Telemetry:
            return self._telemetry

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

        @capture_exceptions
        def train(self) -> None:
            raise ValueError("t")

    with record("provided", directory=tmp_path, instrument=False) as telemetry:
        with pytest.raises(ValueError, match="t"):
            Client(telemetry).train()
        with pytest.raises(ValueError, match="b"), capture_exceptions(telemetry=Client(telemetry)):
            raise ValueError("b")

    names = [event.name for event in open_tape(telemetry.tape) if event.name.startswith("exception.")]
    assert names == ["exception.train", "exception.block"]


def test_an_exception_that_refuses_attributes_is_told_once_and_keeps_its_shape(told: Told) -> None:
    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    @capture_exceptions
    def inner() -> None:
        raise Frozen(3)

    with pytest.raises(Frozen) as caught, capture_exceptions():
        inner()

    assert [name for name, _ in told] == ["exception.inner"]
    assert caught.value == Frozen(3)


def test_an_exception_that_refuses_every_question_is_told_and_goes_on(told: Told) -> None:
    class Hostile(ValueError):
        def refuse(self) -> Any:
            raise RuntimeError("ask another")

        __cause__ = status_code = property(refuse)
        __str__ = refuse

    @capture_exceptions
    def fails() -> None:
        raise Hostile

    caught = None
    try:
        fails()
    except Hostile as error:
        caught = type(error)

    assert caught is Hostile
    assert [(name, data["exception_type"]) for name, data in told] == [("exception.fails", "Hostile")]


def test_a_fatal_exception_is_one_event_of_each_kind_however_many_say_so(tmp_path: Path) -> None:
    @capture_exceptions(fatal=True)
    def inner() -> None:
        raise ValueError

    @capture_exceptions(fatal=True)
    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match=r"^$"), record("fatal", directory=tmp_path, instrument=False) as telemetry:
        outer()

    told = [(event.name, event.metadata.get("recorded_as")) for event in open_tape(telemetry.tape)]
    assert [pair for pair in told if "exception" in pair[0]] == [
        ("exception.inner", None),
        ("telemetry.exception", "exception.inner"),
    ]


def test_the_session_goes_on_after_a_fatal_exception(tmp_path: Path) -> None:
    with record("on", directory=tmp_path, instrument=False) as telemetry:
        with pytest.raises(ValueError, match=r"^$"), capture_exceptions(fatal=True):
            raise ValueError
        assert telemetry.log("after")

    kinds = [event.kind for event in open_tape(telemetry.tape)]
    assert [kind for kind in kinds if kind != "GENERIC_EVENT"] == [
        "SESSION_START",
        "UNHANDLED_EXCEPTION",
        "SESSION_END",
    ]


def test_whatever_can_be_called_can_be_decorated_in_either_order(told: Told) -> None:
    class Client:
        @capture_exceptions
        @classmethod
        def made(cls) -> None:
            raise RuntimeError(cls.__name__)

        @classmethod
        @capture_exceptions
        def found(cls) -> None:
            raise RuntimeError(cls.__name__)

        @capture_exceptions
        @staticmethod
        def static() -> None:
            raise RuntimeError

        @property
        @capture_exceptions
        def lazy(self) -> None:
            raise RuntimeError

    class Loss:
        async def __call__(self) -> None:
            raise RuntimeError

    async def fetch(path: str) -> None:
        raise RuntimeError(path)

    fetch_it: Any = capture_exceptions(functools.partial(fetch, "p"))
    loss: Any = capture_exceptions(Loss())
    calls: list[Any] = [
        Client.made,
        Client.found,
        Client.static,
        lambda: Client().lazy,
        lambda: asyncio.run(fetch_it()),
        lambda: asyncio.run(loss()),
    ]
    for call in calls:
        with pytest.raises(RuntimeError):
            call()

    assert [name for name, _ in told] == [
        f"exception.{name}" for name in ("made", "found", "static", "lazy", "fetch", "Loss")
    ]


def test_what_cannot_be_meant_is_refused_where_it_is_written() -> None:
    nothing: Any = property(lambda self: None)
    for decorated in (nothing, "name", 3):
        with pytest.raises(TypeError, match="decorates what can be called"):
            capture_exceptions(decorated)
    with pytest.raises(ValueError, match="unknown severity 'BAD'"):
        capture_exceptions(severity="BAD")
    with pytest.raises(TypeError, match="it is no Telemetry"):
        capture_exceptions(telemetry=nothing)


async def test_an_async_block_and_what_is_thrown_into_a_generator_keep_a_clean_traceback(told: Told) -> None:
    @capture_exceptions
    async def source() -> AsyncIterator[int]:
        yield 1

    running: Any = source()
    await anext(running)
    with pytest.raises(KeyError) as caught:
        await running.athrow(KeyError("thrown"))
    with pytest.raises(ValueError, match="v"):
        async with capture_exceptions():
            raise ValueError("v")

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[1:] == ["source"]
    assert [name for name, _ in told] == ["exception.source", "exception.block"]


def test_a_recursion_without_end_is_told_once_by_a_call_that_has_room(told: Told) -> None:
    @capture_exceptions
    def deeper(level: int) -> int:
        return deeper(level + 1)

    with pytest.raises(RecursionError):
        deeper(0)

    assert [(name, data["exception_type"]) for name, data in told] == [("exception.deeper", "RecursionError")]


def test_a_telemetry_that_is_closed_leaves_it_to_the_running_one(tmp_path: Path) -> None:
    with record("closed", directory=tmp_path, instrument=False) as closed:
        pass
    with (
        record("open", directory=tmp_path, instrument=False) as telemetry,
        pytest.raises(ValueError, match="v"),
        capture_exceptions(telemetry=closed),
    ):
        raise ValueError("v")

    assert "exception.block" in [event.name for event in open_tape(telemetry.tape)]


def test_one_event_of_each_kind_in_many_threads_and_tasks(tmp_path: Path) -> None:
    @capture_exceptions(fatal=True)
    @capture_exceptions
    def fail(number: int) -> None:
        raise ValueError(number)

    @capture_exceptions(fatal=True)
    async def fail_in_task(number: int) -> None:
        await asyncio.sleep(0)
        fail(number)

    async def gather() -> None:
        found = await asyncio.gather(*map(fail_in_task, range(50)), return_exceptions=True)
        assert all(isinstance(error, ValueError) for error in found)

    with record("many", directory=tmp_path, instrument=False) as telemetry:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            failed = [pool.submit(fail, number).exception() for number in range(50, 100)]
        asyncio.run(gather())

    names = [event.name for event in open_tape(telemetry.tape)]
    assert (names.count("exception.fail"), names.count("telemetry.exception"), len(failed)) == (100, 100, 50)


@pytest.mark.parametrize("asked", [SystemExit, KeyboardInterrupt, ValueError])
def test_an_exception_whose_own_text_asks_for_the_end_goes_on_as_it_is(told: Told, asked: type[BaseException]) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise asked

    with pytest.raises(Odd), capture_exceptions():
        raise Odd

    [(_, metadata)] = told
    assert metadata["exception_message"] == "<exception str() failed>"
    assert metadata["traceback"].endswith("Odd: <exception str() failed>\n")
