"""Eight threads that do the same thing at once, switched as often as the interpreter can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

THREADS, TIMES = 8, 4_000


def hammer(action: Callable[[int], object], *, times: int = TIMES) -> int:
    """Call `action(number of the thread)` `times` times in each thread; the number of calls comes back."""
    barrier = threading.Barrier(THREADS)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(times):
            action(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return THREADS * times
