"""What the SDK itself logs: every event that enters its telemetry, before it batches (seam 2 of facts/sdk.md §4).

The SDK puts the headers of failed polls, API key included, into its events (facts/sdk.md D1). None of it comes along:
of headers only those that are named here. Who switched the SDK's telemetry off (`TINKER_TELEMETRY`) meant its events:
then none of them is told, whatever logs them.

`destination` says where they go: "service", as the SDK means it; "tape", to nobody but whoever listens to
`tinker.sdk.event` (with nobody there, to the service all the same); "nowhere", the SDK logs none.
Threads  whichever logs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal

from tinkertape.events import SDK_EVENT
from tinkertape.guard import guard
from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import flight
from tinkertape.instrument.tinker.futures import instance_dict

_HEADERS = frozenset(
    {
        "cf-ray",
        "content-length",
        "content-type",
        "date",
        "retry-after",
        "retry-after-ms",
        "server",
        "via",
        "x-request-id",
        "x-sdk-method",
        "x-sdk-version",
        "x-should-retry",
        "x-stainless-retry-count",
        "x-tinker-request-iteration",
        "x-tinker-request-type",
    }
)

_ON = ("1", "true", "yes", "on")  # every other value is off, the empty one too (facts/sdk.md D13)


def sdk_telemetry_is_on() -> bool:
    """Does the SDK log its own events? By the SDK's rule for `TINKER_TELEMETRY`, which it reads for each client."""
    return os.environ.get("TINKER_TELEMETRY", "1").lower() in _ON


Destination = Literal["service", "tape", "nowhere"]
destination: Destination = "service"  # set by `install`


def put_on(telemetry_class: Any, patches: Patches) -> None:
    """Watch `Telemetry._log`, and stand before `_send_batch`."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def _log(self: Any, *events: Any) -> Any:
            if destination == "nowhere":
                return False
            accepted = original(self, *events)
            _tell(self, events, accepted)
            return accepted

        return _log

    patches.replace(telemetry_class, "_log", wrap)
    patches.replace(telemetry_class, "_send_batch", _unless_kept)


def _unless_kept(original: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(original)
    async def _send_batch(self: Any, batch: Any) -> Any:
        if destination == "tape" and SDK_EVENT.handlers:
            return None  # what it returns is looked at by no release
        return await original(self, batch)

    return _send_batch


@guard("instrument.tinker.sdk_event")
def _tell(telemetry: Any, events: tuple[Any, ...], accepted: Any) -> None:
    if not SDK_EVENT.handlers:
        return
    session_id = instance_dict(telemetry).get("_session_id")
    for event in events if flight.is_watching and sdk_telemetry_is_on() else ():
        kind = getattr(event, "event", None)
        SDK_EVENT.execute(
            {},
            {
                "event": kind,
                "event_name": getattr(event, "event_name", None),
                "severity": getattr(event, "severity", None),
                "session_id": session_id,
                "session_index": getattr(event, "event_session_index", None),
                "accepted": bool(accepted),
                "data": _data(event),
            },
        )


def _data(event: Any) -> dict[str, Any]:
    """A copy of the event's own data, headers reduced to the harmless ones."""
    data = getattr(event, "event_data", None)
    if isinstance(data, Mapping):
        return {key: _harmless(value) if key.endswith("_headers") else value for key, value in data.items()}
    told = {key: getattr(event, key, None) for key in ("error_type", "error_message", "traceback", "duration")}
    return {key: value for key, value in told.items() if value is not None}


def _harmless(headers: Any) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        return {}
    return {name: value for name, value in headers.items() if str(name).lower() in _HEADERS}
