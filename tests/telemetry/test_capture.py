"""`capture_exceptions`: whatever passes is recorded once and goes on unchanged, through every kind of function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from tinkertape.bus import attach_all, detach
from tinkertape.capture import capture_exceptions


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
