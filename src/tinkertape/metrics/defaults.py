"""The specification's set of metrics, corrected so that each matches an event that exists.

The specification's names are kept, with `tinker` for `tinkex`. What is corrected: a metric that is named
`tinker.http.request.count` listens to `tinker.http.request.stop`, since no event is called `tinker.http.request`; what
ends as an exception is counted beside it; the iterations of polling are those of a request, which knows how many it
took; polls are told apart by `outcome` as well as `status`; memory and run queue are the process's, not a virtual
machine's. Durations are in milliseconds. A path has its ids replaced by the source, so no tag is without end; where an
event may lack a tag it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tinkertape.metrics.definitions import Metric, counter, distribution, last_value

HTTP_BUCKETS_MS = (10, 100, 500, 1_000, 5_000, 10_000)
MILLISECONDS = ("nanosecond", "millisecond")
_TRAINING = (
    "forward",
    "forward_backward",
    "forward_backward_custom",
    "optim_step",
    "save_state",
    "load_state",
    "save_weights_for_sampler",
)
_LOSS_FN = ("forward", "forward_backward", "forward_backward_custom")


def default() -> list[Metric]:
    """A list of one's own: HTTP, training, sampling, polls, retries, the process."""
    return [*_http(), *_training(), *_operation("sampling", "sample"), *_polls(), *_retries(), *_process()]


def _http() -> list[Metric]:
    prefix = "tinker.http.request"
    return [
        counter(
            f"{prefix}.count",
            event_name=f"{prefix}.stop",
            tags=["method", "path", "status"],
            description="HTTP requests that were answered",
        ),
        counter(
            f"{prefix}.exception.count",
            tags=["method", "path", "error_type"],
            tag_values=_filled("method", "path", "error_type"),
            description="HTTP requests that were not answered",
        ),
        distribution(
            f"{prefix}.duration",
            event_name=f"{prefix}.stop",
            unit=MILLISECONDS,
            tags=["method", "path"],
            buckets=HTTP_BUCKETS_MS,
            description="Time of one HTTP request, to the last byte of its answer",
        ),
    ]


def _training() -> list[Metric]:
    return [metric for operation in _TRAINING for metric in _operation("training", operation)]


def _operation(family: str, operation: str) -> list[Metric]:
    """How often one public call was made and failed, and how long it took until its result was there."""
    prefix = f"tinker.{family}.{operation}"
    tags = ["loss_fn"] if operation in _LOSS_FN else []
    return [
        counter(
            f"{prefix}.count",
            event_name=f"{prefix}.stop",
            tags=tags,
            tag_values=_filled(*tags),
            description=f"Calls of {operation} that succeeded",
        ),
        counter(
            f"{prefix}.exception.count",
            tags=[*tags, "error_type"],
            tag_values=_filled(*tags, "error_type"),
            description=f"Calls of {operation} that failed",
        ),
        distribution(
            f"{prefix}.duration",
            event_name=f"{prefix}.stop",
            unit=MILLISECONDS,
            tags=tags,
            tag_values=_filled(*tags),
            description=f"Time from a call of {operation} until its result is there",
        ),
    ]


def _polls() -> list[Metric]:
    return [
        counter(
            "tinker.future.poll.count",
            event_name="tinker.future.poll.stop",
            tags=["status", "outcome"],
            description="Questions whether a request is ready, by their answers",
        ),
        counter(
            "tinker.future.poll.exception.count",
            tags=["error_type"],
            tag_values=_filled("error_type"),
            description="Questions whether a request is ready that were not answered",
        ),
        distribution(
            "tinker.future.poll.iterations",
            event_name="tinker.request.stop",
            description="Number of polling iterations until completion",
        ),
    ]


def _retries() -> list[Metric]:
    return [
        counter(
            "tinker.retry.count",
            tags=["error_type"],
            tag_values=_filled("error_type"),
            description="What failed and was tried again",
        )
    ]


def _process() -> list[Metric]:
    """Of the events of a `Poller`."""
    return [
        last_value("process.memory.rss", unit="byte", description="Memory of the process"),
        last_value("process.run_queue.total", description="Threads and callbacks that are ready and have to wait"),
        last_value("process.run_queue.cpu", description="Threads that want a processor"),
    ]


def _filled(*tags: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Tags that an event may lack: then they are empty, and the event counts all the same."""
    return lambda metadata: {tag: metadata.get(tag) for tag in tags}
