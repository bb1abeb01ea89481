"""From an event to a metric's tags and value, or why it was skipped (facts/beam.md M43, P30-P35).

The order of checks: `keep` on the raw metadata; the measurement; `tag_values`; the tags. A `bool` is no number (as on
the BEAM, where `true` is an atom: P32), nor is NaN, an infinity, or what is so great (1e250) that a sum could become
one. A tag's value is text: `None` is "", truth values are "true" and "false", equal numbers are equal texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal

import msgspec

from tinkertape.guard import attempt
from tinkertape.metrics.definitions import Metadata, Metric, arity

Reason = Literal["missing_measurement", "not_a_number", "not_finite", "missing_tag", "error"]
Tags = tuple[tuple[str, str], ...]

MAGNITUDE_MAX = 1e250  # 1e58 of them, converted from seconds to nanoseconds, add up to a float
TAG_MAX = 256  # characters of a tag's value: a limit on series alone would not bound the memory
_NOT_THERE = object()


class Extracted(msgspec.Struct, frozen=True):
    """What one event means to one metric; `value` is in the unit reported, 1 for a counter."""

    tags: Tags
    value: int | float


class Skipped(msgspec.Struct, frozen=True):
    """Why an event means nothing to a metric that wanted it; `what` is the key, the value or the exception."""

    reason: Reason
    what: object = None

    def describe(self) -> str:
        """The reason in words; of a value only the type, which is never a secret."""
        match self.reason:
            case "missing_measurement" | "missing_tag":
                return f"{self.reason.replace('_', ' ')} {self.what!r}"
            case "error":
                return f"a function of its definition raised {type(self.what).__name__}"
            case _:
                return f"a {type(self.what).__name__} is {self.reason.replace('_', ' ')}"


class Unusable(Exception):
    """An event that a metric must skip, on its way up to whoever counts it."""

    def __init__(self, reason: Reason, what: object = None) -> None:
        self.skipped = Skipped(reason, what)


Extract = Callable[[Mapping[str, Any], Mapping[str, Any]], Extracted | Skipped | None]


def extractor(metric: Metric) -> Extract:
    """A function (measurements, metadata) → `Extracted`, `Skipped`, or None where `keep` says no. It never raises."""
    read, keeps, tags_of = measurement_reader(metric), keep_reader(metric), tags_reader(metric)

    def extracted(measurements: Mapping[str, Any], metadata: Metadata) -> Extracted | None:
        if not keeps(metadata, measurements):
            return None
        value = 1 if read is None else metric.conversion.apply(usable_number(read(measurements, metadata), metric))
        return Extracted(tags_of(metadata), value)

    def extract(measurements: Mapping[str, Any], metadata: Metadata) -> Extracted | Skipped | None:
        found, error = attempt(extracted, measurements, metadata)
        return found if error is None else why_skipped(error)

    return extract


def why_skipped(error: Exception) -> Skipped:
    """The reason behind an exception: what an extraction said, or whatever went wrong in a user's function."""
    return error.skipped if isinstance(error, Unusable) else Skipped("error", error)


def keep_reader(metric: Metric) -> Callable[[Metadata, Mapping[str, Any]], object]:
    """A function (metadata, measurements) → whether the event counts."""
    keep: Callable[..., object] | None = metric.keep
    if keep is None:
        return lambda metadata, measurements: True
    return keep if arity(keep) == 2 else lambda metadata, measurements: keep(metadata)


def measurement_reader(metric: Metric) -> Callable[[Mapping[str, Any], Metadata], Any] | None:
    """A function (measurements, metadata) → the measured value as it came, None where it is missing.

    A counter has none: it counts whatever was measured (P30).
    """
    if metric.kind == "counter":
        return None
    measurement = metric.measurement
    if isinstance(measurement, str):
        return lambda measurements, metadata: measurements.get(measurement)
    function: Callable[..., Any] = measurement
    return function if arity(function) == 2 else lambda measurements, metadata: function(measurements)


def tags_reader(metric: Metric) -> Callable[[Metadata], Tags]:
    """A function metadata → the tags, as text: in the order of `tags`, or by name where `tags` is a function."""
    tags, tag_values = metric.tags, metric.tag_values
    if callable(tags):
        return lambda metadata: tuple(
            sorted((_utf8(str(name)), tag_text(value)) for name, value in tags(metadata).items())
        )
    names = tags

    def tags_of(metadata: Metadata) -> Tags:
        values = metadata if tag_values is None else tag_values(metadata)
        return tuple((name, tag_text(_present(values, name))) for name in names)

    return tags_of


def _present(values: Mapping[str, Any], name: str) -> Any:
    value = values.get(name, _NOT_THERE)
    if value is _NOT_THERE:
        raise Unusable("missing_tag", name)
    return value


def tag_text(value: object) -> str:
    """A tag's value as text, so that values that are equal give one series."""
    if isinstance(value, str):
        text = str.__str__(value)
    elif value is None:
        text = ""
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, Enum):
        return tag_text(value.value)
    elif isinstance(value, int):
        text = str(int(value))
    elif isinstance(value, Real | Decimal):
        number: Any = value
        text = str(int(number)) if math.isfinite(number) and number == int(number) else str(number)
    else:
        text = str(value)
    return _utf8(text if len(text) <= TAG_MAX else f"{text[: TAG_MAX - 1]}…")


def _utf8(text: str) -> str:
    """Half a character, which no protocol takes, as `?`: here, so that what looks alike there is one series."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def usable_number(value: object, metric: Metric) -> int | float:
    """The value as an int or a float of Python's. Raises `Unusable`: it is missing, no number, or not finite."""
    if value is None:
        what = metric.measurement if isinstance(metric.measurement, str) else "what the function returned"
        raise Unusable("missing_measurement", what)
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise Unusable("not_a_number", value)
    try:
        number = int(value) if isinstance(value, Integral) else float(value)
    except (OverflowError, ValueError):  # an integer without end, a signaling NaN
        raise Unusable("not_finite", value) from None
    if not -MAGNITUDE_MAX < number < MAGNITUDE_MAX:
        raise Unusable("not_finite", value)
    return number
