"""Runs read from a collector over HTTP, by the standard library: the client's install is enough.

One connection a question, no proxy, no redirect; an answer over 64 MB is refused. Source: docs/http.md.
"""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar

import msgspec

from tinkertape.cli.source import LISTED_MAX, RunRow
from tinkertape.diagnosis.report import Report
from tinkertape.errors import DeliveryError, TapeNotFound
from tinkertape.tape import Ledger

PROBE_S = 1.0  # for a collector that may be away
ANSWER_S = 30.0
ANSWER_MAX = 64 * 1024 * 1024
T = TypeVar("T")

BATCH = 1_000  # events asked for at once
OVER = frozenset({"ended", "failed", "killed"})


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


class RunPage(msgspec.Struct, frozen=True):
    run: RunRow
    report: Report


class CollectorSource:
    """A collector of ours at `place`."""

    every_s = 1.0

    def __init__(self, url: str) -> None:
        self.place = url.rstrip("/")

    def there(self) -> bool:
        """Does a collector of ours answer?"""
        try:
            with self._open("/healthz", PROBE_S) as answer:
                return answer.status == 200 and answer.headers.get("Tinkertape-Collector") == "1"
        except (OSError, HTTPException):
            return False

    def names(self) -> Sequence[tuple[str, str]]:
        return [(row.run, row.name) for row in self.runs(LISTED_MAX)]

    def runs(self, limit: int) -> list[RunRow]:
        return self._decoded(f"/api/v1/runs?limit={limit}", list[RunRow])

    def unreadable(self) -> Mapping[str, str]:
        return {}

    def report(self, run: str) -> Report:
        return self._page(run).report

    def ledger(self, run: str) -> Ledger:
        """What it has of one run, and where; all zero for a run that it does not know."""
        try:
            return self._decoded(f"/api/v1/ledger?run={_quoted(run)}", Ledger)
        except TapeNotFound:
            return Ledger()

    def lines(self, run: str) -> Iterator[Sequence[bytes]]:
        after, over = "", False
        while True:
            answer = self._get(f"/api/v1/runs/{_quoted(run)}/events?limit={BATCH}&after={_quoted(after)}")
            batch = [line for line in answer.split(b"\n") if line]
            if batch:
                after = msgspec.json.decode(batch[-1], type=_Cursor).cursor
                yield batch
                continue
            if over:
                return
            over = self._page(run).run.state in OVER  # asked last: what came before it is still fetched
            if not over:
                yield ()

    def _page(self, run: str) -> RunPage:
        return self._decoded(f"/api/v1/runs/{_quoted(run)}", RunPage)

    def _decoded(self, path: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self._get(path), type=kind)
        except msgspec.DecodeError as error:
            raise DeliveryError(
                f"{self.place} answers {path} as another version of tinkertape: {error}; install the same"
            ) from error

    def _get(self, path: str) -> bytes:
        try:
            with self._open(path, ANSWER_S) as answer:
                body = answer.read(ANSWER_MAX + 1)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise TapeNotFound(f"{self.place} does not know this run") from error
            raise DeliveryError(f"{self.place} answered {error.code} to {path}") from error
        except (OSError, HTTPException) as error:
            raise DeliveryError(
                f'cannot reach the collector at {self.place}: {_reason(error)}; is "tinkertape serve" running?'
            ) from error
        if len(body) > ANSWER_MAX:
            raise DeliveryError(f"{self.place} answered more than {ANSWER_MAX} bytes to {path}")
        return body

    def _open(self, path: str, timeout_s: float) -> HTTPResponse:
        answer: HTTPResponse = _opener.open(self.place + path, timeout=timeout_s)
        return answer


class _Cursor(msgspec.Struct):
    cursor: str


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)
