"""Times every guarded hook where it runs, in the midst of the SDK's own work: the outermost of each thread, none inside
another. To be called before `tinkertape.instrument` is imported.

Medians leave out what disturbs, and whatever only some of the calls do; the stamps add 0.2 us a call. Not seen: what
the wrappers themselves take, the loop's `select`, and what the program waits longer for the GIL.
"""

from __future__ import annotations

import functools
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tinkertape import guard as guarding

Hook = Callable[..., Any]
_spent: defaultdict[str, list[int]] = defaultdict(list)
_inside: set[int] = set()


def watch() -> None:
    """Have `guard` time what it decorates from now on."""
    original = guarding.guard

    def guard(place: str) -> Callable[[Hook], Hook]:
        return lambda function: _timed(original(place)(function), f"{function.__module__}.{function.__qualname__}")

    guarding.guard = guard


def _timed(hook: Hook, name: str) -> Hook:
    spent = _spent[name.removeprefix("tinkertape.instrument.")]

    @functools.wraps(hook)
    def timed(*args: Any, **kwargs: Any) -> Any:
        thread = threading.get_ident()
        if thread in _inside:
            return hook(*args, **kwargs)
        _inside.add(thread)
        began_ns = time.perf_counter_ns()
        try:
            return hook(*args, **kwargs)
        finally:
            spent.append(time.perf_counter_ns() - began_ns)
            _inside.discard(thread)

    return timed


def take() -> dict[str, tuple[int, float]]:
    """How often each was called since the last time, and the median of it in microseconds."""
    taken = {name: (len(spent), statistics.median(spent) / 1e3) for name, spent in _spent.items() if spent}
    for spent in _spent.values():
        spent.clear()
    return taken
