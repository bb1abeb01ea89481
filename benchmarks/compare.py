"""Times calls against their peers: alternating rounds in one process, so that a noisy machine disturbs both alike.

Read the ratios, not the nanoseconds: the figure of a row is the median over the rounds, its spread the least and
greatest ratio of any round.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[], object] | str  # a string is a statement, timed without the cost of a function around it


def compare(
    title: str,
    ours: Call,
    peers: Mapping[str, Call],
    *,
    number: int = 20_000,
    rounds: int = 15,
    names: dict[str, Any] | None = None,
    settle: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Print ns a call of `ours` and of each peer; the median ratio peer / ours comes back by peer.

    `settle` is called before each timing: what the calls before left to do in the background is done then.
    """
    calls = {"tinkertape": ours, **peers}
    times: dict[str, list[float]] = {name: [] for name in calls}
    timers = {name: timeit.Timer(call, globals=names) for name, call in calls.items()}
    for timer in timers.values():
        timer.timeit(number // 10)
    for _ in range(rounds):
        for name, timer in timers.items():
            settle()
            times[name].append(timer.timeit(number) / number * 1e9)
    print(f"\n{title}")
    mine = times["tinkertape"]
    print(f"  {'tinkertape':34} {statistics.median(mine):10.0f} ns")
    ratios: dict[str, float] = {}
    for name in peers:
        each = [theirs / our for theirs, our in zip(times[name], mine, strict=True)]
        ratios[name] = statistics.median(each)
        print(
            f"  {name:34} {statistics.median(times[name]):10.0f} ns   {ratios[name]:7.1f} x ours"
            f"   ({min(each):.1f} to {max(each):.1f})"
        )
    return ratios
