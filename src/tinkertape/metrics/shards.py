"""The part of an aggregate that belongs to one thread, and how it finds the cell for an event's tags.

`by_key` leads to it by the values of the tags as they come, a dict a tag: quicker than one dict over tuples. But 1
equals True and 1.0: where such a value came up, the dicts are `Level`s, which look there by its type too, in half as
long again. All values that are one text are one series, and one cell, which `by_text` has.
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


class Level(dict[Any, Any]):
    """A dict of values of a tag; those that equal another's text are in `by_type`, and looked up there when missed."""

    __slots__ = ("by_type",)

    def __init__(self, plain: Mapping[Any, Any]) -> None:
        super().__init__()
        for key, below in list(plain.items()):  # in one go: a signal's handler may add to it meanwhile
            self[key] = Level(below) if isinstance(below, dict) else below
        self.by_type: dict[tuple[type, Any], Any] = {}

    def __missing__(self, key: Any) -> Any:
        return self.by_type[type(key), key]

    def __bool__(self) -> bool:
        return bool(len(self) or self.by_type)


class ShardTable(Generic[C]):
    """One metric's cells in one thread."""

    __slots__ = ("by_key", "by_text", "overflowed")

    def __init__(self) -> None:
        self.by_key: dict[Any, Any] = {}
        self.by_text: dict[Tags, C] = {}
        self.overflowed = 0

    def lead(self, keys: Keys, cell: C, *, are_text: bool) -> bool:
        """From now on these keys lead to this cell, if all that equals them is the same text, or a number of another
        type. Says whether `by_key` is another dict now.
        """
        are_plain = are_text or all(map(_is_plain, keys))
        if not are_plain and not all(_is_plain(key) or _is_number(key) for key in keys):
            return False
        is_new = not are_plain and not isinstance(self.by_key, Level)
        if is_new:
            self.by_key = Level(self.by_key)
        level = self.by_key
        for key in keys[:-1]:
            where, at = _place(level, key)
            level = where.setdefault(at, Level({}) if isinstance(level, Level) else {})
        where, at = _place(level, keys[-1])
        where[at] = cell
        return is_new

    def remove(self, series: list[Tags]) -> dict[Tags, C]:
        """Take these series out of the thread's reach."""
        removed = {tags: cell for tags in series if (cell := self.by_text.pop(tags, None)) is not None}
        _unlink(self.by_key, {id(cell) for cell in removed.values()})
        return removed


def _place(level: dict[Any, Any], key: Any) -> tuple[dict[Any, Any], Any]:
    """The dict that has this key, and by what."""
    if isinstance(level, Level) and _is_number(key) and not _is_plain(key):
        return level.by_type, (type(key), key)
    return level, key


def _unlink(level: dict[Any, Any], gone: set[int]) -> None:
    for key, below in level.copy().items():
        if isinstance(below, dict):
            _unlink(below, gone)
        if not below or id(below) in gone:
            level.pop(key, None)
    if isinstance(level, Level):
        _unlink(level.by_type, gone)


def forget_cells(local: Any) -> None:
    """Have the handlers ask for their cells again: some are in another dict now."""
    for name in list(local.__dict__):
        if name.startswith("cells_of_"):
            local.__dict__.pop(name, None)


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
