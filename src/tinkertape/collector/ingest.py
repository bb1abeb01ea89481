"""`POST /api/v1/telemetry`: Tinker's wire in, the inbox on disk, then `{"status":"accepted"}`.

That answer, and no other, is the one for which no SDK version sends its batch again (docs/facts/sdk.md §1); so it is
given to any body in which a list of events can be
found, whatever is in the list. It means: on the collector's disk. 400 only for what is no such body, 413 and 408 for
one too large or slow, 503 with `Retry-After`
while the disk takes nothing.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tinkertape.collector.counters import Counters
from tinkertape.collector.inbox import Inbox, InboxFull, Introduction
from tinkertape.collector.intake import BadBody, take_in
from tinkertape.collector.limits import Refused, read_body
from tinkertape.wire import ACCEPTED

RETRY_AFTER_S = 1


class Ingest:
    """The ASGI endpoint; it runs in the event loop, and waits for the inbox's commit."""

    def __init__(self, inbox: Inbox, counters: Counters) -> None:
        self._inbox = inbox
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope, receive)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        counters = self._counters
        try:
            body = await read_body(Headers(scope=scope), receive)
            intake = take_in(body)
            if intake.lines or intake.header:
                introduction = Introduction(intake.process, intake.header) if intake.header else None
                await self._inbox.append(intake.lines, introduction)
        except BadBody as reason:
            counters.bodies["bad"] += 1
            return PlainTextResponse(f"{reason}\n", HTTPStatus.BAD_REQUEST)
        except Refused as refused:
            counters.bodies[refused.status.phrase.lower().replace(" ", "_")] += 1
            return refused.response()
        except InboxFull as reason:
            counters.bodies["inbox_full"] += 1
            headers = {"retry-after": str(RETRY_AFTER_S)}
            return PlainTextResponse(f"{reason}\n", HTTPStatus.SERVICE_UNAVAILABLE, headers)
        counters.bodies["accepted"] += 1
        counters.events += intake.events
        counters.rejected += intake.rejected
        counters.bytes += len(body)
        return Response(ACCEPTED, media_type="application/json")
