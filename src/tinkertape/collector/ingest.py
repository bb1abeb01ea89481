"""`POST /api/v1/telemetry`: Tinker's wire in, the inbox on disk, then `{"status":"accepted"}`.

That answer, and no other, is the one for which no SDK version sends its batch again (docs/facts/sdk.md §1); so it is
given to any body in which a list of events can be found, whatever is in the list. It means: on the collector's disk.
400 only for what is no such body, 413 and 408 for one too large or slow, 503 with `Retry-After` while the disk takes
nothing or too much comes at once.

Threads  a small body is turned into lines in the event loop, a large or packed one in "tinkertape-intake", so that it
         holds up nobody else's.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tinkertape.collector.counters import Counters
from tinkertape.collector.inbox import Inbox, InboxFull, Introduction, Place
from tinkertape.collector.intake import BadBody, Intake, TooManyEvents, take_in
from tinkertape.collector.limits import Flight, Refused, Share, check_length, gunzip, is_packed, read_body
from tinkertape.collector.stored import NotStored, Stored
from tinkertape.wire import ACCEPTED, OURS

LARGE = 100_000  # bytes; a body of a hundred events is half of it
THREADS = 2


class Ingest:
    """The ASGI endpoint; it waits for the inbox's commit, and with `stored` for the store, too."""

    def __init__(self, inbox: Inbox, counters: Counters, stored: Stored | None = None) -> None:
        self._inbox = inbox
        self.counters = counters
        self._stored = stored
        self.flight = Flight()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tinkertape-intake")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.flight.share() as share:
            response = await self._answer(scope, receive, share)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, share: Share) -> Response:
        try:
            self._inbox.must_have_room()
            check_length(Headers(scope=scope))
            body = await read_body(receive, share)
            intake, size = await self._taken(body, is_packed(Headers(scope=scope)))
            written = self.put(intake)
            if written is not None:
                place = await written
                if self._stored is not None:
                    await self._stored.wait(place)
        except TooManyEvents as reason:
            return self._refused(Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(reason)), "too_many_events")
        except BadBody as reason:
            return self._refused(Refused(HTTPStatus.BAD_REQUEST, str(reason)), "bad")
        except Refused as refused:
            return self._refused(refused, refused.status.phrase.lower().replace(" ", "_"))
        except InboxFull as reason:
            return self._refused(Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(reason)), "inbox_full")
        except NotStored as reason:
            return self._refused(Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(reason)), "not_stored")
        self.count(intake, size)
        return Response(ACCEPTED, headers={OURS: "1"}, media_type="application/json")

    def is_ready(self) -> bool:
        """Is a body answered as soon as it is on the disk, and does the disk take one?"""
        return self._stored is None and self._inbox.has_room

    def put(self, intake: Intake) -> asyncio.Future[Place] | None:
        """Bring what was taken in to the inbox; None where that is nothing. Raises `InboxFull`."""
        if not intake.lines and not intake.header:
            return None
        introduction = Introduction(intake.process, intake.header) if intake.header else None
        return self._inbox.put(intake.lines, introduction)

    def count(self, intake: Intake, size: int) -> None:
        """A body was accepted."""
        self.counters.bodies["accepted"] += 1
        self.counters.events += intake.events
        self.counters.rejected += intake.rejected
        self.counters.bytes += size

    async def _taken(self, body: bytes, packed: bool) -> tuple[Intake, int]:
        """The lines of a body, and its bytes unpacked."""
        if not packed and len(body) <= LARGE:
            return take_in(body), len(body)
        return await asyncio.get_running_loop().run_in_executor(self._threads, _unpack_and_take_in, body, packed)

    def _refused(self, refused: Refused, outcome: str) -> PlainTextResponse:
        self.counters.bodies[outcome] += 1
        return refused.response()


def _unpack_and_take_in(body: bytes, packed: bool) -> tuple[Intake, int]:
    unpacked = gunzip(body) if packed else body
    return take_in(unpacked), len(unpacked)
