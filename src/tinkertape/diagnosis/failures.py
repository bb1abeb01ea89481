"""What failed, from the event that says so: an operation that ended with an exception, or the program."""

from __future__ import annotations

from tinkertape.context import Event
from tinkertape.diagnosis.records import Failure

UNPAID, GONE = 402, 410  # two statuses that are causes of their own, and so none of what else answers 4xx
IN_SESSION = ("service", "training", "sampling")  # families of operations; a call of others may be 410 by itself


def operation_failure(event: Event, at_ns: int) -> Failure:
    """Of `tinker.<family>.<operation>.exception`."""
    metadata = event.metadata
    return Failure(
        at_ns,
        str(metadata.get("error_type") or "Exception"),
        str(metadata.get("reason") or ""),
        str(metadata.get("fault_owner") or "unknown"),
        metadata.get("error_category"),
        metadata.get("status_code"),
        str(metadata.get("stacktrace") or ""),
        str(metadata.get("fault_kind") or ""),
        metadata.get("is_user_error"),
    )


def program_failure(event: Event, at_ns: int) -> Failure:
    """Of `telemetry.exception`: what ended the program."""
    metadata = event.metadata
    return Failure(
        at_ns,
        str(metadata.get("exception_type") or "Exception"),
        str(metadata.get("exception_message") or ""),
        str(metadata.get("fault_owner") or "unknown"),
        metadata.get("error_category"),
        traceback=str(metadata.get("traceback") or ""),
        is_user_error=metadata.get("is_user_error"),
    )
