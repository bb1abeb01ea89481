"""`capture_exceptions`: whatever passes is recorded once and goes on unchanged, through every kind of function."""

from __future__ import annotations

import asyncio
import dataclasses
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
