"""Which samples of a sampling session are ready, for clients that ask for all of them at once (`/retrieve_futures`).

A client asks for what came after its cursor; what lies before it is seen, and forgotten. Runs on the service's loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinkertape.sim.lines import Promise

Target = tuple[str, int]  # a sampling session, and which of its clients
CLONE = 1_000_000_000  # a client of a session numbers its requests from its own number times this (facts/sdk.md §5)


@dataclass
class Feed:
    """One client's samples: still in the making, and told in the order in which they became ready."""

    pending: list[Promise] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    forgotten: int = 0

    def after(self, cursor: int) -> tuple[list[dict[str, Any]], int]:
        """What became ready after this cursor, and the cursor that stands behind it."""
        self._gather()
        seen = min(max(cursor - self.forgotten, 0), len(self.told))
        del self.told[:seen]
        self.forgotten += seen
        return list(self.told), self.forgotten + len(self.told)

    def _gather(self) -> None:
        ready = [promise for promise in self.pending if promise.payload is not None]
        if ready:
            self.pending = [promise for promise in self.pending if promise.payload is None]
            self.told += [_completion(promise) for promise in sorted(ready, key=lambda promise: promise.ready_ns)]


def _completion(promise: Promise) -> dict[str, Any]:
    """Also a failed one is fetched: its answer says why."""
    assert promise.payload is not None
    size = promise.payload.size
    return {"state": "finished", "request_id": promise.request_id, "response_payload_uncompressed_size": size}


@dataclass
class Feeds:
    """Of all clients that sample, by session and client."""

    feeds: dict[Target, Feed] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)  # session → how many joined it

    def add(self, sampling_session_id: str, seq: int, promise: Promise) -> None:
        feed = self.of((sampling_session_id, seq // CLONE))
        if promise not in feed.pending:
            feed.pending.append(promise)

    def of(self, target: Target) -> Feed:
        return self.feeds.setdefault(target, Feed())

    def join(self, sampling_session_id: str) -> int:
        """A client joins: its number, from 1; the one that made the session is 0."""
        self.clients[sampling_session_id] = self.clients.get(sampling_session_id, 0) + 1
        return self.clients[sampling_session_id]
