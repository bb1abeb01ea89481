"""A program that sends the SDK's own telemetry to each destination in turn, and prints when: any release runs it.

To each a client logs an event and an exception; that waits until all of it is sent.
"""

from __future__ import annotations

import json
import sys
import time

import tinker

import tinkertape
from tinkertape.instrument import tinker as source


def log(destination: source.Destination) -> dict[str, object]:
    """What became of one client's events, by the SDK, and between which instants."""
    source.install(sdk_telemetry=destination)
    began_ns = time.perf_counter_ns()
    service = tinker.ServiceClient()
    service.get_server_capabilities()  # by then the SDK has begun to send: what is logged before waits longer
    telemetry = service.get_telemetry()
    assert telemetry is not None
    accepted = telemetry.log(f"to {destination}", event_data={"a": 1})
    telemetry.log_fatal_exception_sync(ValueError("made up"))
    return {"accepted": accepted, "began_ns": began_ns, "ended_ns": time.perf_counter_ns()}


def main() -> None:
    told: dict[str, dict[str, object]] = {"tape, with nobody there": log("tape")}
    telemetry = tinkertape.start("destinations", directory=sys.argv[1])
    told |= {"service": log("service"), "tape": log("tape"), "nowhere": log("nowhere")}
    telemetry.close()
    print(json.dumps({"release": tinker.__version__, "told": told, "tape": str(telemetry.tape)}))


if __name__ == "__main__":
    main()
