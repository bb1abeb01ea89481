"""How a figure reads in a terminal: a unit, and few digits.

Zero is `0`, unknown is `–`; ≈ marks an inferred figure, ≤ a bounded one.
"""

from __future__ import annotations

from datetime import datetime

UNKNOWN = "–"
MARKS = {"inferred": "≈ ", "bounded": "≤ "}


def seconds(value: float | None) -> str:
    """`6.6 ms`, `84 ms`, `0.27 s`, `47.0 s`, `2 min 21 s`, `1 h 4 min`."""
    if value is None:
        return UNKNOWN
    if value < 0.00005:
        return "0"
    if value < 0.0995:
        return f"{value * 1000:.{1 if value < 0.00995 else 0}f} ms"
    if value < 99.5:
        return f"{value:.{2 if value < 0.9995 else 1}f} s"
    whole = int(value + 0.5)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def share(value: float | None) -> str:
    """`33 %`, `< 1 %`."""
    if value is None:
        return UNKNOWN
    return "< 1 %" if 0 < value < 0.01 else f"{int(value * 100 + 0.5)} %"


def count(value: int | None) -> str:
    """`1 284 067`."""
    return UNKNOWN if value is None else f"{value:,}".replace(",", " ")


def bounds(least: float | None, most: float | None) -> str:
    """`2.8 to 3.1 s`, or nothing where there are no bounds, or none worth the words."""
    if least is None or most is None or seconds(least) == seconds(most):
        return ""
    left, right = seconds(least), seconds(most)
    unit = f" {right.split(' ')[-1]}"
    return f"{left.removesuffix(unit) if right.count(' ') == 1 else left} to {right}"


def moment(text: str | None) -> str:
    """An RFC 3339 time in this machine's zone: `24 Nov 02:04:11`; unknown if it is none."""
    if not text:
        return UNKNOWN
    try:
        local = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    return f"{local.day:2d} {local:%b %H:%M:%S}"


def plural(number: int, word: str) -> str:
    """`1 step`, `30 steps`."""
    return f"{count(number)} {word}{'' if number == 1 else 's'}"
