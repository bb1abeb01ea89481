"""Units of time and of bytes, and conversion between them, correctly rounded (facts/beam.md M30-M37).

A conversion multiplies by a whole number or divides by one, never by a reciprocal: one rounding, to the nearest float.
An integer stays an integer where it grows; what shrinks is a float, always.
"""

from __future__ import annotations

import difflib

import msgspec

from tinkertape.errors import MetricError

NO_UNIT = "unit"
TIMES = {"nanosecond": 1, "microsecond": 1_000, "millisecond": 1_000_000, "second": 1_000_000_000}
BYTES = {"byte": 1, "kilobyte": 1_000, "megabyte": 1_000_000}
NATIVE = "native"
"""The unit of every `duration` on the bus: another name for nanosecond."""

_KNOWN = (*TIMES, *BYTES)


class Conversion(msgspec.Struct, frozen=True):
    """From one unit to another of its kind: times `multiply`, divided by `divide`; one of the two is 1."""

    multiply: int = 1
    divide: int = 1

    def apply(self, value: int | float) -> int | float:
        """The value in the new unit, correctly rounded."""
        return value * self.multiply if self.divide == 1 else value / self.divide

    def undo(self, value: int | float) -> int | float:
        """The value in the old unit, correctly rounded; an integer where it is one."""
        return value / self.multiply if self.divide == 1 and self.multiply != 1 else value * self.divide


IDENTITY = Conversion()


def read_unit(unit: object, metric: str) -> tuple[str, Conversion]:
    """A definition's `unit`: one unit, or a pair (from, to). Comes back as the unit reported, and how to get there.

    Raises `MetricError`.
    """
    if isinstance(unit, str):
        return _plain(unit, metric), IDENTITY
    if isinstance(unit, tuple | list) and len(unit) == 2 and all(isinstance(each, str) for each in unit):
        return _pair(unit[0], unit[1], metric)
    raise MetricError(f"the unit of {metric!r} is a string or a pair of strings (from, to), got {unit!r}")


def _plain(unit: str, metric: str) -> str:
    if unit == NATIVE:
        return "nanosecond"
    if not unit.strip() or not unit.isprintable():
        raise MetricError(f"the unit of {metric!r} is {unit!r}; leave it out, or name one")
    nearest = difflib.get_close_matches(unit, _KNOWN, n=1, cutoff=0.85)
    if nearest and unit not in _KNOWN:
        raise MetricError(f"unknown unit {unit!r} for {metric!r}; did you mean {nearest[0]!r}?")
    return unit


def _pair(old: str, new: str, metric: str) -> tuple[str, Conversion]:
    old, new = ("nanosecond" if each == NATIVE else each for each in (old, new))
    for scale in (TIMES, BYTES):
        if old in scale and new in scale:
            return new, Conversion(max(scale[old] // scale[new], 1), max(scale[new] // scale[old], 1))
    unknown = [each for each in (old, new) if each not in _KNOWN]
    if not unknown:
        raise MetricError(f"the unit of {metric!r} goes from {old!r} to {new!r}: both must be times, or both bytes")
    nearest = difflib.get_close_matches(unknown[0], _KNOWN, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"a conversion knows {', '.join(_KNOWN)}"
    raise MetricError(f"unknown unit {unknown[0]!r} for {metric!r}; {hint}")
