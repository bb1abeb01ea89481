"""Figures as a person reads them, the same in a sentence, on a page and in a terminal: a unit, three digits at most.

Zero is `0`, unknown is `–`. A narrow no-break space stands before a unit and between thousands; `plain` makes it a
usual one, for a terminal has one width. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

THIN = "\u202f"
UNKNOWN = "–"
MARKS = {"inferred": f"≈{THIN}", "bounded": f"≤{THIN}"}  # by quality; what is measured carries none


def seconds(value: float | None) -> str:
    """A duration in seconds: `6.6 ms`, `84 ms`, `0.27 s`, `47.0 s`, `2 min 21 s`, `1 h 4 min`."""
    if value is None:
        return UNKNOWN
    if value < 0.00005:
        return "0"
    if value < 0.0995:
        return f"{value * 1000:.{1 if value < 0.00995 else 0}f}{THIN}ms"
    if value < 99.5:
        return f"{value:.{2 if value < 0.9995 else 1}f}{THIN}s"
    whole = int(value + 0.5)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def percent(share: float | None) -> str:
    """A share of 1: `33 %`, `< 1 %`."""
    if share is None:
        return UNKNOWN
    return f"<{THIN}1{THIN}%" if 0 < share < 0.01 else f"{int(share * 100 + 0.5)}{THIN}%"


def count(value: int | None) -> str:
    """`1 284 067`."""
    return UNKNOWN if value is None else f"{value:,}".replace(",", THIN)


def models(steps: Sequence[int]) -> str:
    """How many steps each model took, where there are several: `2 models: 30 + 12 steps`."""
    return f"{len(steps)} models: {' + '.join(count(number) for number in steps)} steps" if len(steps) > 1 else ""


def between(least: float | None, most: float | None) -> str:
    """The bounds of a duration: `2.0 to 2.3 s`, or nothing where there are none or they read alike."""
    left, right = seconds(least), seconds(most)
    if UNKNOWN in (left, right) or left == right:
        return ""
    unit = THIN + right.rpartition(THIN)[2]
    return f"{left.removesuffix(unit) if ' ' not in right else left} to {right}"


def known_as(quality: str, least: float | None, most: float | None) -> str:
    """How a figure is known to who reads it: one whose bounds read alike is as good as measured."""
    reads_alike = least is not None and most is not None and not between(least, most)
    return "measured" if quality == "bounded" and reads_alike else quality


def marked_as(quality: str, value: float, least: float | None, most: float | None) -> str:
    """The quality whose mark is true of a figure: ≤ where it reads as its upper bound, ≈ where it may be more."""
    known = known_as(quality, least, most)
    return "inferred" if known == "bounded" and most is not None and seconds(value) != seconds(most) else known


def marked(figure: str, quality: str) -> str:
    """The figure with its quality: ≈ inferred, ≤ bounded."""
    return f"{MARKS.get(quality, '')}{figure}"


def sum_marked_as(summands: Iterable[tuple[float, str]]) -> str:
    """The quality whose mark is true of a sum: one that a tenth or more of it has, ≈ before ≤."""
    had: dict[str, float] = {}
    for value, quality in summands:
        had[quality] = had.get(quality, 0.0) + value
    least = 0.1 * sum(had.values())
    return next((quality for quality in MARKS if had.get(quality, 0.0) >= least > 0), "measured")


def plain(figure: str) -> str:
    """The figure with usual spaces."""
    return figure.replace(THIN, " ")
