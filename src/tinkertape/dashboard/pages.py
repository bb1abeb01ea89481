"""The addresses of the pages, and their answers.

Threads  a page is made in a worker thread (its function is not async), because the `Source` may block and drawing
         takes time.
Safety   every page carries `HEADERS`: nothing inline runs, nothing foreign loads, nobody frames it. Every text is
         escaped by the templates (autoescape is always on) after `visible` has written out what cannot be seen. A
         run's id is looked up, never a path.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import markupsafe
import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from tinkertape import figures
from tinkertape.dashboard.assets import Assets
from tinkertape.dashboard.format import clock, loss_figure
from tinkertape.dashboard.parts import OVER, look_of, owner_class, owner_name
from tinkertape.dashboard.report import ledger_of, report_of, row_of
from tinkertape.dashboard.run_page import run_page
from tinkertape.dashboard.runs_page import runs_page
from tinkertape.dashboard.source import Source
from tinkertape.dashboard.text import breakable, glued, prose, visible

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
RUNS_MAX = 200  # rows of the list
EVENTS_MAX = 200  # lines of the tape


def routes(source: Source) -> list[BaseRoute]:
    """The pages over a source: `/`, `/runs/{run}` and their files below `/static`."""
    pages = _Pages(source)
    return [
        Route("/", pages.runs),
        Route("/runs/{run:path}", pages.run),
        Route("/static/{digest}/{name:path}", pages.assets.respond),
    ]


class _Pages:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.assets = Assets()
        self._templates = _environment(self.assets.base)

    def runs(self, request: Request) -> Response:
        rows = self._source.runs(RUNS_MAX)
        ledger = ledger_of(self._source.ledger(None))
        page = runs_page([row_of(row) for row in rows], datetime.now(UTC))
        return self._answer("runs.html", page=page, ledger=ledger)

    def run(self, request: Request) -> Response:
        run = request.path_params["run"]
        data = self._source.report(run)
        if data is None:
            rows = [row_of(row) for row in self._source.runs(RUNS_MAX)]
            near = [row for row in rows if run and (row.run.startswith(run) or row.name == run)][:8]
            return self._answer("unknown.html", 404, run=run, near=near)
        try:
            report = report_of(data)
        except msgspec.ValidationError as error:  # an answer that this page cannot read: say so, and where
            return self._answer("unreadable.html", 500, run=run, why=str(error))
        events = self._source.last_events(run, EVENTS_MAX)
        ledger = self._source.ledger(run)
        return self._answer("run.html", page=run_page(report, ledger_of(ledger) if ledger else report.ledger, events))

    def _answer(self, template: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(**values), status, HEADERS)


def _environment(base: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        breakable=breakable, glued=glued, prose=prose, fragment=lambda text: quote(visible(str(text)).encode(), safe="")
    )
    environment.globals.update(
        base=base,
        clock=clock,
        figures=figures,
        look_of=look_of,
        loss_figure=loss_figure,
        OVER=OVER,
        owner_class=owner_class,
        owner_name=owner_name,
        path_of=lambda run: f"/runs/{quote(run.encode('utf-8', 'replace'), safe='')}",
    )
    return environment


def _finalized(value: object) -> object:
    """Each value on its way into a page. Markup is ours already; a text may be anybody's."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, markupsafe.Markup) else value
