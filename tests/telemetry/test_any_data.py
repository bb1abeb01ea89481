"""`log` takes data of any kind: never an error, always one line of JSON, and no other event is lost by it."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinkertape.telemetry import Telemetry, start


class Refused(Exception):
    """Known to nobody: what guards only against usual errors lets it through."""


def refuse(*_: Any) -> Any:
    raise Refused


class Zone(datetime.tzinfo):
    def utcoffset(self, moment: Any) -> Any:
        raise Refused

    dst = tzname = utcoffset


class Opaque:
    """Every question about it fails."""

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __eq__ = __getattr__ = refuse  # type: ignore[assignment]
    __hash__ = object.__hash__


class Liar:
    __class__ = property(refuse)  # type: ignore[assignment]


class Mapping(dict[Any, Any]):
    __len__ = __iter__ = items = keys = __getitem__ = refuse


class Sequence(list[Any]):
    __len__ = __iter__ = __getitem__ = refuse


class Text(str):
    __str__ = __len__ = __iter__ = encode = refuse  # type: ignore[assignment]


class Integer(int):
    __int__ = __index__ = __str__ = bit_length = refuse


class Number(float):
    __float__ = __str__ = refuse


class Meta(type):
    __getattr__ = __instancecheck__ = __repr__ = refuse  # type: ignore[assignment]


class Made(metaclass=Meta):
    pass


class Kind(enum.Enum):
    ODD = object()


class Tensor:
    """As torch's on an accelerator: to copy it to the host would hold up the program."""

    shape, dtype, device = (2, 2), "float32", "cuda:0"
    tolist = detach = __repr__ = refuse  # type: ignore[assignment]


class BrokenTensor(Tensor):
    shape = property(refuse)  # type: ignore[assignment]


Tensor.__module__ = BrokenTensor.__module__ = "torch"


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None

    __eq__ = object.__eq__


@dataclasses.dataclass(frozen=True)
class Place:
    x: int


@dataclasses.dataclass(slots=True)
class Guarded:
    x: int

    def __getattribute__(self, name: str) -> Any:
        raise Refused


class Struct(msgspec.Struct):
    x: Any


class Model(pydantic.BaseModel):
    x: Any


def cycle() -> list[Any]:
    made: list[Any] = [1]
    made.append({"again": made})
    return made


def pit(wrap: Callable[[Any], Any], depth: int) -> Any:
    made: Any = 0
    for _ in range(depth):
        made = wrap(made)
    return made


def objects(value: Any) -> Any:
    made = numpy.empty(1, dtype=object)
    made[0] = value
    return made


ODD: list[Callable[[], Any]] = [
    Opaque,
    Made,
    cycle,
    Tensor,
    BrokenTensor,
    object,
    lambda: Made.__class__,
    lambda: Mapping(a=1),
    lambda: Sequence([1]),
    lambda: Text("text"),
    lambda: Integer(3),
    lambda: Number(2.5),
    lambda: Kind.ODD,
    lambda: {Opaque(): Opaque()},
    lambda: {Opaque()},
    lambda: datetime.datetime(2026, 1, 1, tzinfo=Zone()),
    lambda: datetime.time(1, 2, tzinfo=Zone()),
    lambda: numpy.zeros((100, 100)),
    lambda: numpy.array([1.0, numpy.nan]),
    lambda: objects(Opaque()),
    lambda: numpy.float32("inf"),
    lambda: numpy.ma.masked,
    lambda: collections.UserDict(a=Opaque()),
    lambda: collections.ChainMap({"a": 1}),
    lambda: collections.deque([1]),
    lambda: memoryview(b"bytes"),
    lambda: (number for number in range(3)),
    lambda: decimal.Decimal("sNaN"),
    lambda: uuid.UUID(int=5),
    lambda: 2**100_000,
    lambda: -(2**63) - 1,
    lambda: {Place(1): "a dict's key that is no JSON's"},
    lambda: "\ud800",
    lambda: {"\udfff": "\ud800\udc00"},
    lambda: pit(lambda inner: [inner], 2_000),
    lambda: pit(lambda inner: {"a": inner}, 2_000),
    lambda: pit(Point, 500),
]
UNASKABLE: list[Callable[[], Any]] = [Liar, lambda: Guarded(1)]  # Hypothesis asks each value for its class
LARGE: list[Callable[[], Any]] = [
    lambda: "x" * 300_000,
    lambda: list(range(20_000)),
    lambda: {number: "y" * 50 for number in range(20_000)},
]
odd = st.sampled_from(ODD).map(lambda make: make())
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.complex_numbers()
)
keys = st.text(st.characters(), max_size=5) | st.integers() | st.none() | st.binary(max_size=3) | st.tuples(st.floats())
anything = st.recursive(
    plain | odd,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Point, inner, inner)
        | st.builds(Struct, inner)
        | st.builds(lambda x: Model.model_construct(x=x), inner)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telemetry]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TINKERTAPE_RUN", raising=False)
        with start("anything", directory=tmp_path_factory.mktemp("tapes"), instrument=False) as telemetry:
            yield telemetry


offsets: collections.Counter[Path] = collections.Counter()


def new_events(telemetry: Telemetry) -> list[dict[str, Any]]:
    """The events on the tape since the last time, those of the clock left out; each line must be JSON."""
    raw = b""
    for path in sorted(telemetry.tape.glob("*.jsonl")):
        raw += path.read_bytes()[offsets[path] :]
        offsets[path] = path.stat().st_size
    lines = [json.loads(line, parse_constant=refuse) for line in raw.splitlines()]
    return [line for line in lines if line.get("event_name") in ("before", "odd", "after", "changing")]


def recorded(telemetry: Telemetry, data: Any) -> Any:
    """What is on the tape of it; it and its neighbours are there, and nothing was dropped."""
    accepted = [telemetry.log(name, given) for name, given in (("before", {}), ("odd", data), ("after", {"a": 1}))]
    assert telemetry.flush()
    written = new_events(telemetry)
    assert accepted == [True, True, True]
    assert [line["event_name"] for line in written] == ["before", "odd", "after"]
    assert telemetry.ledger().dropped == {}
    return written[1]["event_data"]


@settings(deadline=None, max_examples=150)
@given(anything)
def test_any_data_is_one_line_and_its_neighbours_are_there(telemetry: Telemetry, data: Any) -> None:
    written = recorded(telemetry, {"data": data, "beside": 5})

    assert written["beside"] == 5

    assert telemetry.ledger().balanced


@pytest.mark.parametrize("make", [*ODD, *UNASKABLE, *LARGE])
def test_an_odd_value_alone_in_a_dict_and_deeper(telemetry: Telemetry, make: Callable[[], Any]) -> None:
    recorded(telemetry, make())
    recorded(telemetry, {"a": make(), "b": 5})
    data = recorded(telemetry, {"a": [1, {"b": make(), "c": Opaque()}], "d": 5})

    assert data["d"] == 5
    assert data["a"][1]["c"] == "… (Opaque that cannot be shown)"


def test_a_value_that_fails_to_say_what_it_is_is_no_failure_of_ours(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError("nothing to say")

    assert recorded(telemetry, {"value": Silent()}) == {"value": "… (Silent that cannot be shown)"}
    assert caplog.records == []


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["list", "dict"])
def test_a_million_levels_are_cut_with_a_mark(telemetry: Telemetry, wrap: Callable[[Any], Any]) -> None:
    data = recorded(telemetry, {"pit": pit(wrap, 1_000_000)})

    assert "… (too deep)" in json.dumps(data, ensure_ascii=False)


def test_a_dict_that_another_thread_changes_meanwhile_is_recorded(telemetry: Telemetry) -> None:
    shared: dict[Any, Any] = {number: Point(number) for number in range(100)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            shared[f"key{number % 50}"] = {1, 2}
            shared.pop(f"key{(number + 25) % 50}", None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        accepted = [telemetry.log("changing", {"shared": shared}) for _ in range(200)]
    finally:
        stop.set()
        thread.join()

    assert telemetry.flush()
    assert accepted == [True] * 200
    assert len(new_events(telemetry)) == 200
    assert telemetry.ledger().dropped == {}
