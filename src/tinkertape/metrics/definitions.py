"""Definitions of metrics: pure data, which any reporter reads (facts/beam.md M1-M44).

    counter("tinker.retry.count", event_name="tinker.retry", tags=["error_type"])
    distribution("tinker.http.request.stop.duration", unit=("nanosecond", "millisecond"), buckets=[10, 100, 1_000])

A name is the event's name and the measurement's, joined by dots, unless `event_name` or `measurement` says otherwise.
Whatever is wrong with a definition raises `MetricError` where it is written; nothing is checked when events come.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, iscoroutinefunction, isgeneratorfunction, signature
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypedDict, TypeVar, Unpack

import msgspec

from tinkertape.errors import MetricError
from tinkertape.metrics.reporter_options import read_reporter_options
from tinkertape.metrics.units import BYTES, IDENTITY, NO_UNIT, TIMES, Conversion, read_unit

Kind = Literal["counter", "sum", "last_value", "summary", "distribution"]
Metadata = Mapping[str, Any]
Measurements = Mapping[str, Any]
TagsFunction = Callable[[Metadata], Mapping[str, Any]]
MeasurementFunction = Callable[[Measurements], Any] | Callable[[Measurements, Metadata], Any]
Predicate = Callable[[Metadata], object] | Callable[[Metadata, Measurements], object]

TIME_BUCKETS_MS = tuple(10 * 2**power for power in range(17))  # 10 ms to 11 min: those of OpenTelemetry's GenAI, longer
BYTE_BUCKETS = tuple(1_000 * 4**power for power in range(11))  # 1 kB to 1 GB
COUNT_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)

LARGEST = sys.float_info.max

_NAME = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")  # what the bus takes as the name of an event
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What to make of one event: the shape of all five kinds.

    `measurement` is a key, or a function of the measurements, or of the measurements and the metadata. `tags` are keys
    of the metadata (of what `tag_values` makes of it, if given), or a function from the metadata to all tags.
    `keep` says of the metadata, or of the metadata and the measurements, whether the event counts. `unit` is the one
    reported, `conversion` leads to it from the one measured. `reporter_options` are for reporters alone.
    """

    kind: ClassVar[Kind]

    name: str
    event_name: str
    measurement: str | MeasurementFunction
    tags: tuple[str, ...] | TagsFunction = ()
    tag_values: TagsFunction | None = None
    keep: Predicate | None = None
    unit: str = NO_UNIT
    conversion: Conversion = IDENTITY
    description: str = ""
    buckets: tuple[int | float, ...] | None = None
    reporter_options: Mapping[str, Any] = _NOTHING


class Counter(Metric, frozen=True, kw_only=True):
    """How many events there were."""

    kind = "counter"


class Sum(Metric, frozen=True, kw_only=True):
    """All values, added up."""

    kind = "sum"


class LastValue(Metric, frozen=True, kw_only=True):
    """The newest value."""

    kind = "last_value"


class Summary(Metric, frozen=True, kw_only=True):
    """Quantiles of the values."""

    kind = "summary"


class Distribution(Metric, frozen=True, kw_only=True):
    """How many values there were in each bucket; `buckets` are the upper bounds, each part of its bucket."""

    kind = "distribution"


class Options(TypedDict, total=False):
    """What every definition takes beside its name."""

    event_name: str | Sequence[str]
    measurement: str | MeasurementFunction
    tags: Sequence[str] | TagsFunction
    tag_values: TagsFunction
    keep: Predicate
    drop: Predicate
    unit: str | tuple[str, str]
    description: str
    reporter_options: Mapping[str, Any]


class DistributionOptions(Options, total=False):
    """What a distribution takes."""

    buckets: Iterable[int | float]


M = TypeVar("M", bound=Metric)


def counter(name: str | Sequence[str], **options: Unpack[Options]) -> Counter:
    """Count the events, whatever they measure. Raises `MetricError`. Source: facts/beam.md M42, P30."""
    return _define(Counter, name, options)


def sum_(name: str | Sequence[str], **options: Unpack[Options]) -> Sum:
    """Add up a measurement. Raises `MetricError`."""
    return _define(Sum, name, options)


def last_value(name: str | Sequence[str], **options: Unpack[Options]) -> LastValue:
    """Keep the newest value of a measurement. Raises `MetricError`."""
    return _define(LastValue, name, options)


def summary(name: str | Sequence[str], **options: Unpack[Options]) -> Summary:
    """Estimate quantiles of a measurement, within 1 % of the value. Raises `MetricError`."""
    return _define(Summary, name, options)


def distribution(name: str | Sequence[str], **options: Unpack[DistributionOptions]) -> Distribution:
    """Sort a measurement into buckets, given in the unit reported; any iterable, `range(100, 1_001, 100)` too.

    Without `buckets`: 10 ms doubled up to 11 min for times, 1 kB to 1 GB for bytes, else 1, 2, 5, 10 … 1 000.
    Raises `MetricError`.
    """
    return _define(Distribution, name, options)


def exponential_buckets(start: int | float, factor: int | float, count: int) -> tuple[int | float, ...]:
    """`count` bounds from `start` on, each `factor` times the one before. Raises `MetricError`."""
    are_numbers = all(isinstance(given, int | float) for given in (start, factor)) and isinstance(count, int)
    if not are_numbers or not start > 0 or not factor > 1 or count < 1:
        raise MetricError(f"buckets from {start!r} by factor {factor!r}, {count!r} of them: want > 0, > 1 and ≥ 1")
    try:
        return tuple(start * factor**power for power in range(count))
    except OverflowError:
        raise MetricError(
            f"buckets from {start!r} by factor {factor!r}, {count!r} of them: no float is so great"
        ) from None


def _define(kind: type[M], name: str | Sequence[str], options: Mapping[str, Any]) -> M:
    metric_name = _dotted(name, "a metric")
    _refuse_unknown(kind, metric_name, options)
    event_name, last = _event_and_measurement(metric_name, options)
    unit, conversion = read_unit(options.get("unit", NO_UNIT), metric_name)
    return kind(
        name=metric_name,
        event_name=event_name,
        measurement=_measurement(options.get("measurement", last), metric_name),
        tags=_tags(options, metric_name),
        tag_values=_function(options, "tag_values", metric_name),
        keep=_keep(options, metric_name),
        unit=unit,
        conversion=conversion,
        description=_description(options.get("description", ""), metric_name),
        buckets=_buckets(options.get("buckets"), unit, metric_name) if kind is Distribution else None,
        reporter_options=read_reporter_options(options.get("reporter_options", _NOTHING), metric_name),
    )


def _dotted(given: object, what: str) -> str:
    """A name given whole or in segments, as one dotted string."""
    if isinstance(given, str):
        name = given
    elif isinstance(given, Sequence) and all(isinstance(segment, str) for segment in given):
        name = ".".join(given)
    else:
        raise MetricError(f"the name of {what} is a string or a list of strings, got {given!r}")
    if not name:
        raise MetricError(f"the name of {what} is empty; use segments joined by dots, 'my.thing.count'")
    if not _NAME.match(name):
        raise MetricError(
            f"the name of {what}, {name!r}, has leading, trailing or consecutive dots, or white space; write 'a.b.c'"
        )
    return _exact(name, f"the name of {what}, {name!r},")


def _exact(given: str, what: str) -> str:
    """A plain `str`, also of a member of an enumeration: it becomes code (`handlers.py`); of UTF-8, which is sent."""
    text = str.__str__(given)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MetricError(f"{what} is no UTF-8: {error.reason}") from error
    return text


def _refuse_unknown(kind: type[Metric], name: str, options: Mapping[str, Any]) -> None:
    own = DistributionOptions if kind is Distribution else Options
    known = sorted({*own.__annotations__, *Options.__annotations__})
    for option in options:
        if option in known:
            continue
        if option == "buckets":
            raise MetricError(f"{kind.kind} {name!r} takes no buckets; did you mean a distribution?")
        nearest = difflib.get_close_matches(option, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}"
        raise MetricError(f"unknown option {option!r} for {kind.kind} {name!r}; {hint}")


def _event_and_measurement(name: str, options: Mapping[str, Any]) -> tuple[str, str]:
    event, _, last = name.rpartition(".")
    if "event_name" in options:
        event = _dotted(options["event_name"], "an event")
    if not event:
        raise MetricError(f"metric {name!r} belongs to no event: name it 'some.event.{name}', or give event_name")
    return event, last


def _measurement(given: Any, name: str) -> str | MeasurementFunction:
    if isinstance(given, str) and given:
        return _exact(given, f"the measurement of {name!r}")
    if not callable(given):
        raise MetricError(f"the measurement of {name!r} is a key or a function, got {given!r}")
    _check_arity(given, (1, 2), f"the measurement of {name!r} is a function of measurements, or also of metadata")
    return given  # type: ignore[no-any-return]


def _tags(options: Mapping[str, Any], name: str) -> tuple[str, ...] | TagsFunction:
    given = options.get("tags", ())
    if callable(given):
        if "tag_values" in options:
            raise MetricError(f"the tags of {name!r} are a function, which makes the values too; leave out tag_values")
        _check_arity(given, (1,), f"the tags of {name!r} are a list, or a function of the metadata")
        return given  # type: ignore[no-any-return]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise MetricError(f"the tags of {name!r} are a list of keys, or a function of the metadata, got {given!r}")
    for tag in given:
        if not isinstance(tag, str) or not tag:
            raise MetricError(f"a tag of {name!r} is a key of the metadata, a text, got {tag!r}")
        if given.count(tag) > 1:
            raise MetricError(f"tag {tag!r} of {name!r} is listed twice")
    return tuple(_exact(tag, f"tag {tag!r} of {name!r}") for tag in given)


def _function(options: Mapping[str, Any], option: str, name: str) -> TagsFunction | None:
    if option not in options:
        return None
    function = options[option]
    _check_arity(function, (1,), f"{option} of {name!r} is a function of the metadata")
    return function  # type: ignore[no-any-return]


def _keep(options: Mapping[str, Any], name: str) -> Predicate | None:
    if "keep" in options and "drop" in options:
        raise MetricError(f"{name!r} has both keep and drop; give one of them")
    for option in ("keep", "drop"):
        if option in options:
            rule = options[option]
            must = f"{option} of {name!r} is a function of the metadata, or of the metadata and the measurements"
            arity = _check_arity(rule, (1, 2), must)
            return rule if option == "keep" else _negated(rule, arity)
    return None


def _negated(drop: Callable[..., object], arity: int) -> Predicate:
    if arity == 1:
        return lambda metadata: not drop(metadata)
    return lambda metadata, measurements: not drop(metadata, measurements)


def _check_arity(function: object, wanted: tuple[int, ...], must: str) -> int:
    if not callable(function) or (found := arity(function)) not in wanted:
        raise MetricError(f"{must}, got {function!r}")
    return found


def arity(function: Callable[..., Any]) -> int:
    """How many arguments to call it with: 2 if it needs two, 1 if it can do with one, else -1, as for a coroutine
    function, of which a call has no answer.

    One that does not say (some that are written in C) is called with one.
    """
    if iscoroutinefunction(function) or isgeneratorfunction(function):
        return -1
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    by_place = [
        each for each in parameters if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    ]
    needed = sum(each.default is Parameter.empty for each in by_place)
    rest = any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)
    named = any(each.kind is Parameter.KEYWORD_ONLY and each.default is Parameter.empty for each in parameters)
    if named or needed > 2 or not (by_place or rest):
        return -1
    return max(needed, 1)


def _description(given: object, name: str) -> str:
    if not isinstance(given, str):
        raise MetricError(f"the description of {name!r} is a string, got {given!r}")
    return _exact(given, f"the description of {name!r}")


def _buckets(given: Iterable[Any] | None, unit: str, name: str) -> tuple[int | float, ...]:
    if given is None:
        return _usual_buckets(unit)
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise MetricError(f"the buckets of {name!r} are a list of upper bounds, got {given!r}")
    bounds = tuple(given)
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not abs(bound) <= LARGEST:
            raise MetricError(
                f"a bucket of {name!r} is a finite number (one up to infinity is always there): {bound!r}"
            )
    if not bounds:
        raise MetricError(f"the buckets of {name!r} are empty; give one bound at least")
    for lower, upper in pairwise(bounds):
        if upper <= lower:
            raise MetricError(f"the buckets of {name!r} must ascend, got {upper!r} after {lower!r}")
    return bounds


def _usual_buckets(unit: str) -> tuple[int | float, ...]:
    if unit in TIMES:
        to_unit = Conversion(max(TIMES["millisecond"] // TIMES[unit], 1), max(TIMES[unit] // TIMES["millisecond"], 1))
        return tuple(to_unit.apply(bound) for bound in TIME_BUCKETS_MS)
    if unit in BYTES:
        return tuple(bound / BYTES[unit] if BYTES[unit] > 1 else bound for bound in BYTE_BUCKETS)
    return COUNT_BUCKETS
