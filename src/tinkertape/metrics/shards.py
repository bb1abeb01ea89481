"""The part of an aggregate that belongs to one thread, and how it finds the cell for an event's tags.

`by_key` leads to it by the values of the tags as they come, a dict a tag: quicker than one dict over tuples. All values
that are one text are one series, and one cell, which `by_text` has.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from tinkertape.metrics.cells import Cell
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import TAG_MAX, Tags, Unusable, tag_text

Keys = tuple[Any, ...]


class Alive:
    """Held by a thread's local storage alone: gone with the thread."""

    __slots__ = ("__weakref__",)


class ShardTable:
    """One metric's cells in one thread."""

    __slots__ = ("by_key", "by_text", "overflowed")

    def __init__(self) -> None:
        self.by_key: dict[Any, Any] = {}
        self.by_text: dict[Tags, Cell] = {}
        self.overflowed = 0

    def lead(self, keys: Keys, cell: Cell) -> None:
        """From now on these keys lead to this cell."""
        level = self.by_key
        for key in keys[:-1]:
            level = level.setdefault(key, {})
        level[keys[-1]] = cell

    def remove(self, series: list[Tags]) -> dict[Tags, Cell]:
        """Take these series out of the thread's reach."""
        removed = {tags: cell for tags in series if (cell := self.by_text.pop(tags, None)) is not None}
        _unlink(self.by_key, {id(cell) for cell in removed.values()})
        return removed


def _unlink(level: dict[Any, Any], gone: set[int]) -> None:
    for key, below in level.copy().items():
        if isinstance(below, dict):
            _unlink(below, gone)
        if not below or id(below) in gone:
            level.pop(key, None)


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


def read_keys(metric: Metric, source: Any) -> tuple[Keys, Tags]:
    """The keys of an event, and the tags of its series; no keys where they must not lead to its cell.

    `source` is what the generated handler has: a mapping with the values of the tags, or what their function made.
    Raises `Unusable`: a tag is missing.
    """
    if callable(metric.tags):
        return (source,), source  # it is text already, made by `extraction.tags_reader`
    if not metric.tags:
        return (None,), ()
    keys = tuple(_tag(source, name) for name in metric.tags)
    tags = tuple(zip(metric.tags, map(tag_text, keys), strict=True))
    return keys if all(map(_lasts, keys)) else (), tags


def _tag(source: Mapping[str, Any], name: str) -> Any:
    try:
        return source[name]
    except KeyError:
        raise Unusable("missing_tag", name) from None


def _lasts(key: object) -> bool:
    """Is all that equals this key the same text, and is there an end of such keys?

    1 equals True and 1.0: so a whole number is written without a fraction (`tag_text`), and 0 and 1 never last. Of long
    texts that are cut many are one series.
    """
    if type(key) is str:
        return len(key) <= TAG_MAX
    return key is None or (type(key) is int and key not in (0, 1))
