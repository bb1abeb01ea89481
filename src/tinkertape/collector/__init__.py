"""The collector: receives Tinker's telemetry wire into an inbox on disk, loads tapes and inbox into the store, and
answers about runs.

`app` is the ASGI app, `serve` runs it on loopback. What a sender is told is accepted is on disk; the loader brings it
into the store, once.
"""

from __future__ import annotations

from tinkertape.collector.app import app
from tinkertape.collector.keeping import Keep
from tinkertape.collector.rebuild import rebuild
from tinkertape.collector.serve import serve

__all__ = ["Keep", "app", "rebuild", "serve"]
