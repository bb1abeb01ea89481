"""Data that JSON cannot say, said anyway: bounded, and never an error.

The way for what msgspec refuses (numpy and torch, cycles, lone surrogates, odd keys, any object) and for what is too
large. No attribute of an unknown object is asked for by `hasattr` or by name: on some objects of the SDK that blocks on
the network (facts/sdk.md §4, traps); only its type is looked at, and its `repr` taken. A value on an accelerator is
never copied to the host.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from tinkertape.guard import attempt

DEPTH_MAX = 32  # levels
ITEMS_MAX = 1000  # of one container
NODES_MAX = 20_000  # of one value, everything counted
TEXT_MAX = 65_536  # characters of one string
TEXTS_MAX = 400_000  # characters of one value, everything counted: three such, escaped, still fit into a line
ARRAY_MAX = 1000  # elements of an array that are written out; a larger one is described
_INT_MIN, _INT_TOP = -(1 << 63), 1 << 64  # what MessagePack has a form for
_SEQUENCES: tuple[type, ...] = (
    list,
    tuple,
    set,
    frozenset,
    deque,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
_NAMED = (datetime.timedelta, complex)
_NUMBER_WORDS = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}  # as protobuf's JSON says them


def safe_json(value: Any) -> Any:
    """The value as dicts with text keys, lists, texts, numbers, booleans and None: what JSON can say.

    NaN and the infinities become "NaN", "Infinity", "-Infinity"; bytes become text; a large container, a deep one and a
    long text are cut, with a mark that says so; a cycle is marked. Never raises, whatever the value is. Any thread.
    """
    return _Rendering().render(value, 0)


class _Rendering:
    """One value on its way: what is still allowed, and which containers it stands in."""

    def __init__(self) -> None:
        self.nodes = NODES_MAX
        self.characters = TEXTS_MAX
        self.inside: set[int] = set()

    def render(self, value: Any, depth: int) -> Any:
        self.nodes -= 1
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int:
            return _integer(value)
        if kind is float:
            return _number(value)
        rendered, failure = attempt(self.other, value, depth)  # runs code of the value's own type, as `isinstance` may
        return rendered if failure is None else _name_of(value)

    def other(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if isinstance(value, int) and not isinstance(value, enum.Enum):
            return _integer(int.__int__(value))
        if isinstance(value, float) and not isinstance(value, enum.Enum):
            return _number(float.__float__(value))
        if isinstance(value, bytes | bytearray):
            return self.text(bytes(value[: 4 * TEXT_MAX]).decode("utf-8", "backslashreplace"))
        if depth > DEPTH_MAX or self.nodes <= 0:
            return "… (too deep)" if depth > DEPTH_MAX else "… (too much)"
        if id(value) in self.inside:
            return "… (contains itself)"
        self.inside.add(id(value))
        try:
            return self.whole(value, depth + 1)
        finally:
            self.inside.discard(id(value))

    def whole(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, _SEQUENCES):
            return self.sequence(value, depth)
        if isinstance(value, enum.Enum):
            return self.render(value.value, depth)
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return value.isoformat()
        if type(value).__module__.partition(".")[0] in ("numpy", "torch"):
            return self.array(value, depth)
        fields = _fields(value)
        if fields is not None:
            return self.mapping(fields, depth)
        return self.text(_shown(value))

    def text(self, text: str) -> str:
        length = len(text)
        allowed = min(TEXT_MAX, max(self.characters, 0))
        self.characters -= min(length, allowed)
        if length > allowed:
            text = f"{text[:allowed]}… (cut, {length} characters)"
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate: a file name, a broken decoder
            return text.encode("utf-8", "backslashreplace").decode()
        return text

    def mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        rendered: dict[str, Any] = {}
        for key, value in islice(values.items(), self.allowed()):
            name = self.key(key)
            while name in rendered:
                name += "'"
            rendered[name] = self.render(value, depth)
        if len(values) > len(rendered):
            rendered["…"] = f"{len(values) - len(rendered)} more"
        return rendered

    def key(self, key: Any) -> str:
        if isinstance(key, str | bytes):
            return str(self.render(key, DEPTH_MAX))
        return self.text(str(self.render(key, DEPTH_MAX - 1)))

    def sequence(self, values: Any, depth: int) -> list[Any]:
        rendered = [self.render(value, depth) for value in islice(values, self.allowed())]
        if len(values) > len(rendered):
            rendered.append(f"… {len(values) - len(rendered)} more")
        return rendered

    def allowed(self) -> int:
        return max(0, min(ITEMS_MAX, self.nodes))

    def array(self, value: Any, depth: int) -> Any:
        """A numpy or torch value: small ones as numbers, others as what they are."""
        kind = type(value)
        if not hasattr(kind, "tolist") or not hasattr(kind, "shape"):  # a dtype, a device, a module
            return self.text(str(value))
        shape = [int(length) for length in value.shape]
        device = str(value.device) if hasattr(kind, "device") else "cpu"
        if math.prod(shape) <= ARRAY_MAX and device == "cpu":
            plain = value.detach().tolist() if hasattr(kind, "detach") else value.tolist()
            return self.text(str(value)) if type(plain) is kind else self.render(plain, depth)
        described: dict[str, Any] = {"array": str(value.dtype), "shape": shape}
        return described if device == "cpu" else {**described, "device": device}


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """The fields of a value that is made of named ones: msgspec, dataclass, pydantic."""
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if callable(getattr(type(value), "model_dump", None)):  # pydantic
        dumped = value.model_dump()
        return dumped if isinstance(dumped, Mapping) else {"root": dumped}
    return None


def _name_of(value: Any) -> str:
    name, _ = attempt(lambda: str(type(value).__name__))
    return f"… ({name or 'value'} that cannot be shown)"


def _shown(value: Any) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, _NAMED) or type(value).__module__ in ("decimal", "uuid", "pathlib", "fractions"):
        return str(value)
    return repr(value)


def _integer(value: int) -> int | str:
    if _INT_MIN <= value < _INT_TOP:
        return value
    return f"… (integer of {value.bit_length()} bits)" if value.bit_length() > 10_000 else str(value)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else _NUMBER_WORDS[repr(value)]
