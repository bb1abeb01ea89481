"""The metadata of an end that failed: what it was, and whose fault."""

from __future__ import annotations

from typing import Any

from tinkertape.exception_record import failure_of
from tinkertape.faults import classify, error_category, is_user_error, status_code

_CANCELLED = {
    "status": "error",
    "kind": "error",
    "reason": "cancelled",
    "error_type": "CancelledError",
    "stacktrace": "",
    "fault_owner": "unknown",
    "fault_kind": "cancelled",
    "is_user_error": False,
}


def failure_and_fault(error: BaseException | None) -> dict[str, Any]:
    """For a `*.exception` event; None: the future was cancelled."""
    if error is None:
        return dict(_CANCELLED)
    fault = classify(error)
    told = {
        **failure_of(error),
        "fault_owner": fault.owner,
        "fault_kind": fault.kind,
        "is_user_error": is_user_error(error),
    }
    if (status := status_code(error)) is not None:
        told["status_code"] = status
    if (category := error_category(error)) is not None:
        told["error_category"] = category
    return told
