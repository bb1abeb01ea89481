"""Waits until the loader has brought a place of the inbox into the store (`serve --ack stored`).

Threads  `wait` runs in the event loop's thread, `reached` in the loader's.
Locks    `_lock` guards the list of who waits; never held during I/O.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tinkertape.collector.inbox import Place
from tinkertape.errors import CollectorError

WITHIN_S = 4.0  # an SDK waits 5 s for its answer, then gives the batch up (docs/facts/sdk.md §1)


class NotStored(CollectorError):
    """The store does not keep up, or takes nothing: what was sent is on the disk, and not in the store yet."""


class _Waiting(msgspec.Struct):
    place: Place
    stored: asyncio.Future[None]


class Stored:
    """How far the store has the inbox, and who waits for that."""

    def __init__(self, hurry: Callable[[], None], *, within_s: float = WITHIN_S) -> None:
        self._hurry = hurry
        self._within_s = within_s
        self._reached: dict[Path, int] = {}
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    async def wait(self, place: Place) -> None:
        """Returns when the store has it. Raises `NotStored` when that takes too long."""
        waiting = _Waiting(place, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._has(place):
                return
            self._waiting.append(waiting)
        self._hurry()
        try:
            await asyncio.wait_for(waiting.stored, self._within_s)
        except TimeoutError:
            raise NotStored("received, and not in the store yet; come again in a second") from None
        finally:
            with self._lock:
                self._waiting = [other for other in self._waiting if other is not waiting]

    def reached(self, segment: Path, offset: int) -> None:
        """The store has a segment up to this offset."""
        with self._lock:
            self._reached[segment] = offset
            ready = [waiting.stored for waiting in self._waiting if self._has(waiting.place)]
        for loop in {future.get_loop() for future in ready}:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, [future for future in ready if future.get_loop() is loop])

    def _has(self, place: Place) -> bool:
        return self._reached.get(place.segment, 0) >= place.end


def _settle(futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
