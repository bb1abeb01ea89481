"""The part of an aggregate that belongs to one thread, and how it finds the cell for an event's tags.

`by_key` leads to it by the values of the tags as they come, a dict a tag: quicker than one dict over tuples. But 1
equals True and 1.0: so a truth value or a fraction leads there by its type too, through `by_type`, in six times the
time. All values that are one text are one series, and one cell, which `by_text` has.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from tinkertape.metrics.cells import Cell
from tinkertape.metrics.definitions import Metric
from tinkertape.metrics.extraction import TAG_MAX, Tags, Unusable, tag_text

Keys = tuple[Any, ...]
C = TypeVar("C")  # what the tags of an event lead to


class Alive:
    """Held by a thread's local storage alone: gone with the thread."""

    __slots__ = ("__weakref__",)


class ShardTable(Generic[C]):
    """One metric's cells in one thread."""

    __slots__ = ("by_key", "by_text", "by_type", "overflowed")

    def __init__(self) -> None:
        self.by_key: dict[Any, Any] = {}
        self.by_type: dict[tuple[tuple[type, ...], Keys], C] = {}
        self.by_text: dict[Tags, C] = {}
        self.overflowed = 0

    def lead(self, keys: Keys, cell: C, *, are_text: bool) -> None:
        """From now on these keys lead to this cell, if all that equals them is the same text."""
        if are_text or all(map(_is_plain, keys)):
            level = self.by_key
            for key in keys[:-1]:
                level = level.setdefault(key, {})
            level[keys[-1]] = cell
        elif all(_is_plain(key) or _is_number(key) for key in keys):
            self.by_type[_typed(keys)] = cell

    def find(self, keys: Keys) -> C | None:
        """The cell for keys that `by_key` does not have."""
        try:
            return self.by_type.get(_typed(keys))
        except TypeError:  # one cannot be hashed
            return None

    def remove(self, series: list[Tags]) -> dict[Tags, C]:
        """Take these series out of the thread's reach."""
        removed = {tags: cell for tags in series if (cell := self.by_text.pop(tags, None)) is not None}
        gone = {id(cell) for cell in removed.values()}
        _unlink(self.by_key, gone)
        _unlink(self.by_type, gone)
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
        self.tables: list[ShardTable[Cell]] = [ShardTable() for _ in range(metrics)]
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


def keys_of(metric: Metric, source: Any) -> Keys:
    """The values of an event's tags, as they come. Raises `Unusable`: one is missing.

    `source` is what the generated handler has: a mapping with them, or the tags themselves where a function makes them.
    """
    if callable(metric.tags):
        return (source,)
    if not metric.tags:
        return (None,)
    return tuple(_tag(source, name) for name in metric.tags)


def _tag(source: Mapping[str, Any], name: str) -> Any:
    try:
        return source[name]
    except KeyError:
        raise Unusable("missing_tag", name) from None


def tags_of(metric: Metric, keys: Keys) -> Tags:
    """The tags of the series that these keys belong to."""
    if callable(metric.tags):
        tags: Tags = keys[0]  # text already: `extraction.tags_reader`
        return tags
    return tuple(zip(metric.tags, map(tag_text, keys), strict=False))


def _typed(keys: Keys) -> tuple[tuple[type, ...], Keys]:
    return tuple(map(type, keys)), keys


def _is_plain(key: object) -> bool:
    """Is all that equals this key the same text, and is there an end of such keys?

    A whole number is, since it is written without a fraction (`tag_text`), but for 0 and 1; so is a text, but for long
    ones, of which many are cut to one.
    """
    if type(key) is str:
        return len(key) <= TAG_MAX
    return key is None or (type(key) is int and key not in (0, 1))


def _is_number(key: object) -> bool:
    return type(key) in (bool, int, float) and key == key  # not NaN, which no look-up would find
