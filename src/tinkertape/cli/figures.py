"""How a figure reads in a terminal: as everywhere, with usual spaces, and a time of day in this machine's zone."""

from __future__ import annotations

from datetime import datetime

from tinkertape import figures

MARKS = {quality: figures.plain(mark) for quality, mark in figures.MARKS.items()}


def seconds(value: float | None) -> str:
    """`6.6 ms`, `84 ms`, `0.27 s`, `47.0 s`, `2 min 21 s`, `1 h 4 min`."""
    return figures.plain(figures.seconds(value))


def share(value: float | None) -> str:
    """`33 %`, `< 1 %`."""
    return figures.plain(figures.percent(value))


def count(value: int | None) -> str:
    """`1 284 067`."""
    return figures.plain(figures.count(value))


def bounds(least: float | None, most: float | None) -> str:
    """`2.8 to 3.1 s`, or nothing where there are no bounds, or none worth the words."""
    return figures.plain(figures.between(least, most))


def moment(text: str | None) -> str:
    """An RFC 3339 time in this machine's zone: `24 Nov 02:04:11`; unknown if it is none."""
    if not text:
        return figures.UNKNOWN
    try:
        local = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return figures.UNKNOWN
    return f"{local.day:2d} {local:%b %H:%M:%S}"


def plural(number: int, word: str) -> str:
    """`1 step`, `30 steps`."""
    return f"{count(number)} {word}{'' if number == 1 else 's'}"
