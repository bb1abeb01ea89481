"""The part of an aggregate that belongs to one thread, and how the values of tags become its keys.

A thread finds its cell by the tags' values as they come (`by_key`): a tuple of them, or whatever `tags` makes where it
is a function. All keys that are one text are one series, and one cell (`by_text`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tinkertape.metrics.cells import Cell
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import TAG_MAX, Tags, tag_text


class Alive:
    """Held by a thread's local storage alone: gone with the thread."""

    __slots__ = ("__weakref__",)


class ShardTable:
    """One metric's cells in one thread."""

    __slots__ = ("by_key", "by_text", "overflowed")

    def __init__(self) -> None:
        self.by_key: dict[Any, Cell] = {}
        self.by_text: dict[Tags, Cell] = {}
        self.overflowed = 0

    def remove(self, series: list[Tags]) -> dict[Tags, Cell]:
        """Take these series out of the thread's reach."""
        removed = {tags: cell for tags in series if (cell := self.by_text.pop(tags, None)) is not None}
        gone = {id(cell) for cell in removed.values()}
        for key in [key for key, cell in self.by_key.copy().items() if id(cell) in gone]:
            self.by_key.pop(key, None)
        return removed


class Shard:
    """One thread's cells, and what it skipped. Only that thread changes them, `ShardTable.remove` excepted."""

    def __init__(self, metrics: int, alive: Alive) -> None:
        self.tables = [ShardTable() for _ in range(metrics)]
        self.skipped: dict[tuple[str, str], int] = {}
        self._alive = weakref.ref(alive)

    @property
    def is_dead(self) -> bool:
        """Has its thread ended, so that nobody will change it again?"""
        return self._alive() is None

    def count_skipped(self, key: tuple[str, str]) -> None:
        """One more of (metric name, reason)."""
        if key in self.skipped:
            self.skipped[key] += 1
        else:
            self.skipped[key] = 1


def key_reader(metric: Metric) -> Callable[[Any], tuple[Tags, bool]]:
    """A function from a key to the tags of its series, and whether the key may stand in `by_key` for it."""
    if callable(metric.tags):
        return lambda key: (key, True)  # it is text already, made by `extraction.tags_reader`
    names = metric.tags
    return lambda key: (tuple(zip(names, map(tag_text, key), strict=True)), _lasts(key))


def _lasts(key: tuple[Any, ...]) -> bool:
    """Is all that equals this key the same text?

    1 equals True and 1.0: so a whole number is written without a fraction (`tag_text`), and 0 and 1 never last.
    """
    return all(_is_short(value) or (type(value) is int and value not in (0, 1)) for value in key)


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= TAG_MAX  # two long texts may be one series: there is no end of them
