"""The pages: the list of runs, and one run with the answer on top.

Server-rendered first: every page says all it has to say without a script; the modules in `static/js` make what is
there quicker to use and keep it current. The pages read a `Source` and nothing else; they know no store, no tape and
no collector.
"""

from __future__ import annotations

from tinkertape.dashboard.pages import routes
from tinkertape.dashboard.source import Source

__all__ = ["Source", "routes"]
