"""A scenario: what the simulated service does to its client, and when. Pure data, read from TOML or written in Python.

Requests are counted by type, from 1, in the order in which the service first saw them; a request that is sent again
keeps its number. The types are the SDK's own names: CreateModel, ForwardBackward, Forward, OptimStep, SaveWeights,
LoadWeights, SaveWeightsForSampler, SaveWeightsExternal, CreateCustomLoss, Sample. Everything random (jitter, samples)
comes from `seed`, so two runs of one scenario are alike.

A file names what differs from the defaults:

    seed = 7
    poll_hold_s = 0.5

    [compute_s]
    ForwardBackward = 0.15

    [[slow]]
    request_types = ["ForwardBackward", "OptimStep"]
    first = 11
    last = 16
    factor = 2.8

    [[pauses]]
    nth = 21
    length_s = 3.0

    [[submit_faults]]
    nth = 6
    status = 503
    times = 2
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tinkertape.sim.errors import Category, SimError

RequestType = Literal[
    "CreateModel",
    "ForwardBackward",
    "Forward",
    "OptimStep",
    "SaveWeights",
    "LoadWeights",
    "SaveWeightsForSampler",
    "SaveWeightsExternal",
    "CreateCustomLoss",
    "Sample",
]

DEFAULT_COMPUTE_S: dict[RequestType, float] = {
    "CreateModel": 0.1,
    "ForwardBackward": 0.05,
    "Forward": 0.03,
    "OptimStep": 0.02,
    "SaveWeights": 0.05,
    "LoadWeights": 0.05,
    "SaveWeightsForSampler": 0.05,
    "SaveWeightsExternal": 0.05,
    "CreateCustomLoss": 0.02,
    "Sample": 0.05,
}


class Allowed(msgspec.Struct, frozen=True):
    """What a figure may be: from `least` to `most`, a whole number where `least` is one."""

    least: float
    most: float = math.inf

    def check(self, key: str, value: float) -> None:
        """Raises `ValueError` when it is not."""
        whole = isinstance(self.least, int)
        is_one = isinstance(value, int) or (isinstance(value, float) and not whole)
        if not (is_one and self.least <= value <= self.most and value < math.inf):
            upper = "" if self.most == math.inf else f" and at most {self.most}"
            kind = "a whole number" if whole else "a number"
            raise ValueError(f"{key} is {value!r}; allowed is {kind} of at least {self.least}{upper}")


ALLOWED = {  # by key, in whichever part it stands; times are seconds
    **dict.fromkeys(("nth", "first", "last", "times", "max_datum_tokens", "max_body_bytes"), Allowed(1)),
    **dict.fromkeys(("samples_at_once", "metadata_from_bytes"), Allowed(0)),
    **dict.fromkeys(("length_s", "after_s", "retry_after_s"), Allowed(0.0)),
    **dict.fromkeys(("poll_hold_s", "latency_s", "seq_gap_s"), Allowed(0.0)),
    "factor": Allowed(0.0),
    "jitter": Allowed(0.0, 1.0),
    "status": Allowed(400, 599),
    "vocabulary": Allowed(2, 4096),
}


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parts of a scenario refuse what would otherwise just not happen: unknown keys, and figures outside `ALLOWED`.

    Raises `ValueError`, one line with the key, its value and what is allowed.
    """

    def __post_init__(self) -> None:
        for key, allowed in ALLOWED.items():
            if key in self.__struct_fields__ and (value := getattr(self, key)) is not None:
                allowed.check(key, value)


class Slow(Part, frozen=True):
    """Requests `first` to `last` (both included) of these types compute `factor` times as long as usual."""

    first: int
    last: int
    factor: float
    request_types: tuple[RequestType, ...] = ("ForwardBackward", "OptimStep")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last < self.first:
            raise ValueError(f"last is {self.last}; allowed is a whole number of at least first, which is {self.first}")


class Pause(Part, frozen=True):
    """The nth request of a type finds its queue held for `length_s`; so do the requests of the same model behind it.

    `after_s` 0: before its compute begins. More than 0: after that much of its compute, which goes on where it stopped.
    """

    nth: int
    length_s: float
    request_type: RequestType = "ForwardBackward"
    reason: Literal["capacity", "rate_limit", "unknown"] = "capacity"
    text: str = "no machine is free for this model"
    after_s: float = 0.0


class StatusFault(Part, frozen=True):
    """The first `times` attempts at something for the nth request of a type are answered with this HTTP status."""

    nth: int
    status: int
    times: int = 1
    request_type: RequestType = "ForwardBackward"
    message: str = "the service is overloaded"
    retry_after_s: float | None = None


class SubmitFault(StatusFault, frozen=True):
    """An attempt to submit it."""


class FutureFault(Part, frozen=True):
    """The nth request of a type is accepted, computed, and then fails with this category."""

    nth: int
    category: Category = "server"
    request_type: RequestType = "ForwardBackward"
    message: str = "the worker was lost"


class PollFault(StatusFault, frozen=True):
    """A poll for it."""

    message: str = "upstream did not answer"


class ConnectionFault(Part, frozen=True):
    """The connection breaks under the first `times` attempts to submit the nth request of a type, or to poll for it.

    "reset": before anything is answered, and a submit is not taken. "half": in the middle of the answer, so that a
    submit is taken and the client does not know it.
    """

    nth: int
    how: Literal["reset", "half"] = "reset"
    on: Literal["submit", "poll"] = "submit"
    times: int = 1
    request_type: RequestType = "ForwardBackward"


class Outage(Part, frozen=True):
    """Nothing gets through for `length_s`, from `after_s` after the nth request of a type was accepted.

    "refused": open connections are reset and new ones refused, as when a service is restarted. "silent": connections
    stay open, new ones are taken, and nothing is answered; in the end they are reset. What was accepted is computed on.
    """

    nth: int
    length_s: float
    how: Literal["refused", "silent"] = "refused"
    after_s: float = 0.0
    request_type: RequestType = "ForwardBackward"


class Scenario(Part, frozen=True):
    """All that the simulated service needs to know. Times are seconds."""

    name: str = "healthy"
    seed: int = 0
    compute_s: dict[RequestType, float] = {}  # over DEFAULT_COMPUTE_S
    jitter: float = 0.03  # compute varies by ± this share, evenly
    poll_hold_s: float = 2.0  # a poll with nothing to say is answered after this long
    tell_resume: bool = False  # True: a held poll is answered "active" when a pause ends; the default lets it wait on
    latency_s: float = 0.0  # one way: each request arrives, and each answer leaves, this much later
    seq_gap_s: float = 30.0  # a training request whose predecessor never comes is computed after this long
    vocabulary: int = 256  # tokens 0 .. vocabulary − 1
    base_model: str = "simulated/bytes-bigram"
    max_datum_tokens: int = 32_768
    max_body_bytes: int = 64 * 1024 * 1024  # as sent, and unpacked
    metadata_from_bytes: int = 1_000_000  # a larger result is announced by its size first, if the client allows it
    client_config: dict[str, Any] = {}  # answered to /client/config
    slow: tuple[Slow, ...] = ()
    pauses: tuple[Pause, ...] = ()
    submit_faults: tuple[SubmitFault, ...] = ()
    future_faults: tuple[FutureFault, ...] = ()
    poll_faults: tuple[PollFault, ...] = ()
    connection_faults: tuple[ConnectionFault, ...] = ()
    outages: tuple[Outage, ...] = ()
    samples_at_once: int = 0  # more than so many samples in the making are answered 429; 0: any number

    def __post_init__(self) -> None:
        super().__post_init__()
        for request_type, seconds in self.compute_s.items():
            Allowed(0.0).check(f"compute_s.{request_type}", seconds)

    def usual_s(self, request_type: str, nth: int) -> float:
        """Compute time of the nth request of a type when nothing is slow: base and jitter. The same for the same
        seed.
        """
        base = _lookup(self.compute_s, request_type, _lookup(DEFAULT_COMPUTE_S, request_type, 0.0))
        return base * (1.0 + self.jitter * float(random.Random(f"{self.seed}/{request_type}/{nth}").uniform(-1, 1)))

    def slow_factor(self, request_type: str, nth: int) -> float:
        factor = 1.0
        for slow in self.slow:
            if request_type in slow.request_types and slow.first <= nth <= slow.last:
                factor *= slow.factor
        return factor

    def pause(self, request_type: str, nth: int) -> Pause | None:
        return next((p for p in self.pauses if (p.request_type, p.nth) == (request_type, nth)), None)

    def submit_fault(self, request_type: str, nth: int, attempt: int) -> SubmitFault | None:
        """The fault that meets this attempt (from 1) to submit the request, if any."""
        return next((f for f in self.submit_faults if _meets(f, request_type, nth, attempt)), None)

    def poll_fault(self, request_type: str, nth: int, poll: int) -> PollFault | None:
        return next((f for f in self.poll_faults if _meets(f, request_type, nth, poll)), None)

    def connection_fault(self, on: str, request_type: str, nth: int, attempt: int) -> ConnectionFault | None:
        faults = (fault for fault in self.connection_faults if fault.on == on)
        return next((f for f in faults if _meets(f, request_type, nth, attempt)), None)

    def outage(self, request_type: str, nth: int) -> Outage | None:
        return next((o for o in self.outages if (o.request_type, o.nth) == (request_type, nth)), None)

    def future_fault(self, request_type: str, nth: int) -> FutureFault | None:
        return next((f for f in self.future_faults if (f.request_type, f.nth) == (request_type, nth)), None)


def _lookup(times: Mapping[RequestType, float], request_type: str, otherwise: float) -> float:
    return next((seconds for name, seconds in times.items() if name == request_type), otherwise)


def _meets(fault: SubmitFault | PollFault | ConnectionFault, request_type: str, nth: int, attempt: int) -> bool:
    return (fault.request_type, fault.nth) == (request_type, nth) and attempt <= fault.times


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a TOML file. Raises `SimError` with one line when it cannot be read or is not a scenario."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise SimError(f"cannot read the scenario {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SimError(f"{path} is not a scenario: {error}") from error
