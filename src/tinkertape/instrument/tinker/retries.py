"""Back-offs inside the SDK's HTTP client: `AsyncAPIClient._sleep_for_retry` (seam 5 of facts/sdk.md §4).

Those of the outer layers are told by submissions.py and polls.py, from the gap that they leave.
Threads  the SDK's loop; nothing else runs there between a failed attempt and its back-off.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from tinkertape.events import RETRY
from tinkertape.guard import guard
from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import attempts, flight
from tinkertape.instrument.tinker.flight import Attempt, call_of
from tinkertape.instrument.tinker.submissions import error_type_of


def put_on(api_client_class: Any, patches: Patches) -> None:
    """Watch the pause between two HTTP attempts."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def _sleep_for_retry(self: Any, *args: Any, **kwargs: Any) -> Any:
            failed = attempts.last
            began_ns = time.perf_counter_ns()
            slept = await original(self, *args, **kwargs)
            _tell(failed, time.perf_counter_ns() - began_ns)
            return slept

        return _sleep_for_retry

    patches.replace(api_client_class, "_sleep_for_retry", wrap)


@guard("instrument.tinker.retry")
def _tell(failed: Attempt | None, delay_ns: int) -> None:
    if failed is None or not flight.is_watching:
        return
    if failed.operation is not None:
        failed.operation.retry_count += 1
    if RETRY.handlers:
        RETRY.execute(
            {"attempt": failed.number, "delay": delay_ns},
            {
                **call_of(failed.operation),
                "submission_id": failed.submit.submission.id if failed.submit is not None else None,
                "error_type": failed.error_type or error_type_of(failed.status_code),
                "status_code": failed.status_code,
                "layer": "http",
            },
        )
