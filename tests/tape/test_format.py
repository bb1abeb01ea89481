"""What a line is: everything comes back as it was, and whatever the data, a line is one line of JSON."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
from typing import Any

import msgspec
import numpy
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.context import Event
from tinkertape.errors import BadLine
from tinkertape.tape.format import End, EventLine, Header, decode_line, encode_line, time_ns_of, timestamp
from tinkertape.tape.rendering import safe_json

_texts = st.text()
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_ids = st.text("0123456789abcdef", min_size=16, max_size=16)
_names = st.text(min_size=1).filter(str.strip)
_times = st.integers(0, 253_402_300_799_999_999).map(lambda us: us * 1000)
_events = st.builds(
    Event,
    name=_names,
    measurements=st.dictionaries(_texts, st.integers(-(2**63), 2**63) | st.floats(allow_nan=False), max_size=4),
    metadata=st.dictionaries(_texts, _json, max_size=4),
    time_ns=_times,
    monotonic_ns=st.integers(0, 2**63 - 1),
    severity=st.sampled_from(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
    scope=st.dictionaries(_texts, _json, max_size=2),
    trace_id=st.none() | _ids,
    span_id=st.none() | _ids,
    run=_ids,
    process=_ids,
    index=st.integers(0, 2**60),
)


@given(_events)
def test_an_event_comes_back_from_its_line_as_it_was(event: Event) -> None:
    line = encode_line(event)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["event_name"] == event.name
    assert decode_line(line[:-1]) == event


@given(_events)
def test_a_foreign_event_keeps_its_id_and_its_data(event: Event) -> None:
    foreign = msgspec.structs.replace(event, event_id="7a7de511", measurements={}, session_id="s", sdk_version="0.38.0")

    assert decode_line(encode_line(foreign)) == foreign


def test_a_header_and_an_end_come_back() -> None:
    header = Header(run="r", process="p", name="n", metadata={"a": [1]}, tags=["x"], pid=3, pid_started=5.0)
    end = End(recorded=3, written=2, dropped={"exit": 1}, status="success", monotonic_ns=9)

    assert decode_line(encode_line(header)) == header
    assert decode_line(encode_line(end)) == end
    assert decode_line(b'{"run":"r","process":"p","tape":1}') == Header(run="r", process="p")
    assert decode_line(b'{"written":2,"recorded":2,"tape_end":1}') == End(recorded=2, written=2)


def test_measurements_that_are_no_numbers_of_json_come_back() -> None:
    event = _event(measurements={"loss": math.nan, "top": math.inf, "low": -math.inf, "n": 1})
    line = encode_line(event)

    assert b'"loss":"NaN"' in line
    back = decode_line(line)
    assert isinstance(back, Event)
    assert math.isnan(back.measurements["loss"])
    assert (back.measurements["top"], back.measurements["low"], back.measurements["n"]) == (math.inf, -math.inf, 1)


def test_unknown_keys_are_ignored() -> None:
    line = b'{"event":"GENERIC_EVENT","event_name":"a","timestamp":"2026-01-01T00:00:00Z","later":{"x":[1]}}'

    assert decode_line(line).name == "a"  # type: ignore[union-attr]
    assert decode_line(b'{"tape":1,"run":"r","process":"p","later":2}') == Header(run="r", process="p")


def test_what_log_was_given_is_the_events_metadata() -> None:
    line = EventLine(event="GENERIC_EVENT", event_name="a", timestamp=timestamp(0), event_data=[1, 2])

    assert decode_line(encode_line(line)).metadata == {"data": [1, 2]}  # type: ignore[union-attr]


def test_a_line_takes_from_the_header_what_it_leaves_out() -> None:
    header = Header(run="r", process="p", project="q", session_id="s", sdk_version="1")
    event = decode_line(b'{"event":"SESSION_START","timestamp":"2026-01-01T00:00:00Z"}', header)

    assert isinstance(event, Event)
    assert (event.run, event.process, event.project, event.session_id, event.sdk_version) == ("r", "p", "q", "s", "1")
    assert event.name == "session_start"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"garbage",
        b"\x00\xff\xfe",
        b"[]",
        b"null",
        b'{"event":1}',
        b'{"event":"GENERIC_EVENT"',
        b'{"event":"GENERIC_EVENT","timestamp":"yesterday"}',
        b'{"event":"GENERIC_EVENT","timestamp":""}',
        b'{"event":"GENERIC_EVENT","timestamp":"2026-01-01T00:00:00Z","event_session_index":"x"}',
        b'{"event":"GENERIC_EVENT","timestamp":"2026-01-01T00:00:00Z","metadata":[1]}',
        b'{"event":"GENERIC_EVENT","timestamp":"2026-01-01T00:00:00Z","event_data":'
        + b"[" * 50_000
        + b"]" * 50_000
        + b"}",
        b'{"event":"GENERIC_EVENT","timestamp":"2026-01-01T00:00:00Z","event_data":1e999}',
        b'{"tape":"x"}',
        b'{"tape_end":1}',
    ],
)
def test_a_bad_line_is_refused_with_one_line_of_reason(raw: bytes) -> None:
    with pytest.raises(BadLine) as error:
        decode_line(raw)

    assert 0 < len(str(error.value)) <= 400
    assert "\n" not in str(error.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_a_bad_line(raw: bytes) -> None:
    try:
        line = decode_line(raw)
    except BadLine as error:
        assert str(error)
    else:
        assert isinstance(line, Event | Header | End)


@given(_times)
def test_a_time_comes_back_from_its_text(time_ns: int) -> None:
    text = timestamp(time_ns)

    assert len(text) == 27
    assert time_ns_of(text) == time_ns


def test_times_are_read_with_any_zone_and_precision() -> None:
    second = 1_000_000_000
    assert time_ns_of("1970-01-01T00:00:01Z") == second
    assert time_ns_of("1970-01-01T01:00:01+01:00") == second
    assert time_ns_of("1970-01-01T00:00:01") == second
    assert time_ns_of("1970-01-01T00:00:01.5+00:00") == second + second // 2
    assert time_ns_of("1970-01-01T00:00:01.000001Z") == second + 1000


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    y: Any


class Model(pydantic.BaseModel):
    a: int
    b: list[str]


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Slippery(dict[str, int]):
    def items(self) -> Any:
        raise KeyError("gone")


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        (numpy.float32(1.5), 1.5),
        (numpy.int64(3), 3),
        (numpy.bool_(True), True),
        (numpy.arange(3), [0, 1, 2]),
        (numpy.zeros((300, 300), dtype="float32"), {"array": "float32", "shape": [300, 300]}),
        (numpy.datetime64("2026-01-01"), "2026-01-01"),
        (numpy.dtype("float32"), "float32"),
        (numpy.array(["a", None], dtype=object), ["a", None]),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (2**70, str(2**70)),
        (Point(1.0, {2}), {"x": 1.0, "y": [2]}),
        (Model(a=1, b=["x"]), {"a": 1, "b": ["x"]}),
        (Colour.RED, "red"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2026-01-02T03:04:05+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(seconds=1), "0:00:01"),
        (decimal.Decimal("1.10"), "1.10"),
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        ("a\ud800b", "a\\ud800b"),
        ({1: "a", (1, 2): "b", None: "c", b"d": "e"}, {"1": "a", "[1, 2]": "b", "None": "c", "d": "e"}),
        (collections.deque([1, 2]), [1, 2]),
        ({3}, [3]),
        (range(2), "range(0, 2)"),
        (ValueError("bad"), "ValueError: bad"),
        (Broken(), "… (Broken that cannot be shown)"),
        (Slippery(a=1), "… (Slippery that cannot be shown)"),
        (int, "<class 'int'>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_say_is_rendered(value: Any, rendered: Any) -> None:
    assert safe_json(value) == rendered
    assert safe_json([{"x": value}]) == [{"x": rendered}]


def test_a_cycle_is_marked_and_the_same_value_twice_is_none() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    shared = [2]

    assert safe_json(cycle) == [1, "… (contains itself)"]
    assert safe_json([shared, shared]) == [[2], [2]]


def test_huge_and_deep_data_are_cut_with_a_mark() -> None:
    deep: Any = 0
    for _ in range(10_000):
        deep = [deep]

    assert safe_json(list(range(5000)))[-1] == "… 4000 more"
    assert safe_json({n: n for n in range(5000)})["…"] == "4000 more"
    assert safe_json("x" * 1_000_000).endswith("… (cut, 1000000 characters)")
    assert "too deep" in json.dumps(safe_json(deep))
    assert len(json.dumps(safe_json([[[0] * 1000] * 1000] * 1000))) < 1_000_000
    assert len(json.dumps(safe_json(["y" * 60_000] * 900))) < 1_000_000


@given(
    st.recursive(
        st.none() | st.text(st.characters()) | st.binary() | st.floats() | st.integers() | st.complex_numbers(),
        lambda i: (
            st.lists(i) | st.dictionaries(st.integers() | st.text(st.characters()) | st.binary(), i) | st.tuples(i, i)
        ),
        max_leaves=10,
    )
)
def test_what_was_rendered_is_json_and_renders_to_itself(value: Any) -> None:
    rendered = safe_json(value)

    assert json.loads(json.dumps(rendered, allow_nan=False)) == rendered
    assert safe_json(rendered) == rendered


def test_an_event_with_such_data_is_still_one_line() -> None:
    line = encode_line(
        _event(metadata={"a": {(1, 2): "x\ud800"}, "b": numpy.float32(2.5), "c": "line\nbreak\x00\x1b[31m"})
    )

    assert json.loads(line)["metadata"] == {"a": {"[1, 2]": "x\\ud800"}, "b": 2.5, "c": "line\nbreak\x00\x1b[31m"}
    assert line.count(b"\n") == 1


def _event(**changed: Any) -> Event:
    values: dict[str, Any] = {
        "name": "a.b",
        "measurements": {},
        "metadata": {},
        "time_ns": 0,
        "monotonic_ns": 0,
        "run": "r",
        "process": "0123456789abcdef",
        "index": 0,
    }
    return Event(**{**values, **changed})
