"""tinkertape: a flight recorder for Tinker fine-tuning runs.

The map of the house. A room imports only from floors below its own, and rooms on one floor do not import each other
(`pyproject.toml`, the contract "floors"). Data flow one way: sources, bus, handlers, tape, delivery, collector, store,
page.

    doors                 cli · testing, under pytest_plugin
    servers               collector · dashboard · sim, which imports nothing of ours
    keepers               store · capture and reporting, over telemetry
    carrier               delivery
    sources and handlers  instrument · metrics · diagnosis · log_handler
    tape                  tape
    bus                   events · spans, over bus · traced · scopes · trace_context, over failures, over context ·
                          dispatch · event_name · exception_record; signals · workers
    stone                 faults · redact · config · wire · figures · version, over guard, over errors

This module is the list of public names. Each is imported when it is first used, so that `import tinkertape` costs next
to nothing; no room imports from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinkertape import collector as collector
    from tinkertape import instrument as instrument
    from tinkertape import metrics as metrics
    from tinkertape import redact as redact
    from tinkertape import testing as testing
    from tinkertape.bus import Bus as Bus
    from tinkertape.bus import attach as attach
    from tinkertape.bus import attach_all as attach_all
    from tinkertape.bus import attach_many as attach_many
    from tinkertape.bus import detach as detach
    from tinkertape.bus import execute as execute
    from tinkertape.bus import list_handlers as list_handlers
    from tinkertape.capture import capture_exceptions as capture_exceptions
    from tinkertape.context import Event as Event
    from tinkertape.diagnosis import diagnose as diagnose
    from tinkertape.events import EventType as EventType
    from tinkertape.faults import classify as classify
    from tinkertape.faults import is_user_error as is_user_error
    from tinkertape.instrument.poller import Poller as Poller
    from tinkertape.log_handler import log_events as log_events
    from tinkertape.scopes import carry as carry
    from tinkertape.scopes import scope as scope
    from tinkertape.scopes import step as step
    from tinkertape.spans import span as span
    from tinkertape.tape import open_tape as open_tape
    from tinkertape.tape import replay as replay
    from tinkertape.telemetry import Telemetry as Telemetry
    from tinkertape.telemetry import get_telemetry as get_telemetry
    from tinkertape.telemetry import record as record
    from tinkertape.telemetry import start as start
    from tinkertape.trace_context import scope_from as scope_from
    from tinkertape.trace_context import traceparent as traceparent

_HOMES = {
    "Bus": "tinkertape.bus",
    "Event": "tinkertape.context",
    "EventType": "tinkertape.events",
    "Poller": "tinkertape.instrument.poller",
    "Telemetry": "tinkertape.telemetry",
    "attach": "tinkertape.bus",
    "attach_all": "tinkertape.bus",
    "attach_many": "tinkertape.bus",
    "capture_exceptions": "tinkertape.capture",
    "carry": "tinkertape.scopes",
    "classify": "tinkertape.faults",
    "collector": "tinkertape.collector",
    "detach": "tinkertape.bus",
    "diagnose": "tinkertape.diagnosis",
    "execute": "tinkertape.bus",
    "get_telemetry": "tinkertape.telemetry",
    "instrument": "tinkertape.instrument",
    "is_user_error": "tinkertape.faults",
    "list_handlers": "tinkertape.bus",
    "log_events": "tinkertape.log_handler",
    "metrics": "tinkertape.metrics",
    "open_tape": "tinkertape.tape",
    "record": "tinkertape.telemetry",
    "redact": "tinkertape.redact",
    "replay": "tinkertape.tape",
    "scope": "tinkertape.scopes",
    "scope_from": "tinkertape.trace_context",
    "span": "tinkertape.spans",
    "start": "tinkertape.telemetry",
    "step": "tinkertape.scopes",
    "testing": "tinkertape.testing",
    "traceparent": "tinkertape.trace_context",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, and keep it."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        room = import_module(home)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tinkertape"):
            raise
        what = f"tinkertape.{name} needs {error.name}, which is not installed"
        raise AttributeError(f'{what}: pip install "tinkertape[server]"') from error
    found = room if home == f"{__name__}.{name}" else getattr(room, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
