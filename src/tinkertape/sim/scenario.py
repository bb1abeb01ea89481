"""A scenario: what the simulated service does to its client, and when. Pure data, read from TOML or written in Python.

A request that is sent again keeps its number. The types are the SDK's own names: CreateModel, ForwardBackward, Forward,
OptimStep, SaveWeights, LoadWeights, SaveWeightsForSampler, SaveWeightsExternal, CreateCustomLoss, Sample. Everything
random (jitter, latency, rates, samples) comes from `seed`, so two runs of one scenario are alike.

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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tinkertape.sim.errors import SimError
from tinkertape.sim.faults import (
    YEAR_S,
    Allowed,
    ConnectionFault,
    Expiry,
    FutureFault,
    Latency,
    LostSession,
    OfAttempt,
    OfRequest,
    Outage,
    Part,
    Pause,
    PollFault,
    RequestType,
    Slow,
    StatusFault,
    StatusRate,
    SubmitFault,
)

Fault = TypeVar("Fault", bound=OfRequest)
Attempted = TypeVar("Attempted", bound=OfAttempt)
Status = TypeVar("Status", bound=StatusFault)

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


class Scenario(Part, frozen=True):
    """All that the simulated service needs to know. Times are seconds."""

    name: str = "healthy"
    seed: int = 0
    compute_s: dict[RequestType, float] = msgspec.field(default_factory=dict)  # over DEFAULT_COMPUTE_S
    compute_per_token_s: dict[RequestType, float] = msgspec.field(default_factory=dict)  # more a token
    jitter: float = 0.03  # compute varies by ± this share, evenly
    poll_hold_s: float = 2.0  # a poll with nothing to say is answered after this long
    answer_at_hold: bool = False  # True: a poll is answered when that is over, and never before
    tell_resume: bool = False  # True: a held poll is answered "active" when a pause ends; the default lets it wait on
    latency_s: float = 0.0  # one way: each request arrives, and each answer leaves, this much later
    latency: tuple[Latency, ...] = ()  # and more by endpoint
    upload_bytes_per_s: float = 0.0  # what all bodies together may bring; 0: any amount
    download_bytes_per_s: float = 0.0  # and all answers
    seq_gap_s: float = 30.0  # a training request whose predecessor never comes is computed after this long
    vocabulary: int = 256  # tokens 0 .. vocabulary − 1
    base_model: str = "simulated/bytes-bigram"
    max_datum_tokens: int = 32_768
    max_body_bytes: int = 64 * 1024 * 1024  # as sent, and unpacked
    metadata_from_bytes: int = 1_000_000  # a larger result is announced by its size first, if the client allows it
    client_config: dict[str, Any] = msgspec.field(default_factory=dict)  # answered to /client/config
    slow: tuple[Slow, ...] = ()
    pauses: tuple[Pause, ...] = ()
    submit_faults: tuple[SubmitFault, ...] = ()
    future_faults: tuple[FutureFault, ...] = ()
    poll_faults: tuple[PollFault, ...] = ()
    connection_faults: tuple[ConnectionFault, ...] = ()
    status_rates: tuple[StatusRate, ...] = ()
    expiries: tuple[Expiry, ...] = ()
    lost_sessions: tuple[LostSession, ...] = ()
    outages: tuple[Outage, ...] = ()
    samples_at_once: int = 0  # more than so many samples in the making are answered 429; 0: any number

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("compute_s", "compute_per_token_s"):
            for request_type, seconds in getattr(self, key).items():
                Allowed(0.0, YEAR_S).check(f"{key}.{request_type}", seconds)
        for key in ("upload_bytes_per_s", "download_bytes_per_s"):
            if getattr(self, key):
                Allowed(1.0).check(key, getattr(self, key))

    def usual_s(self, request_type: str, nth: int, tokens: int = 0) -> float:
        """Compute time of the nth request of a type when nothing is slow: base, tokens and jitter. The same for the
        same seed.
        """
        base = _lookup(self.compute_s, request_type, _lookup(DEFAULT_COMPUTE_S, request_type, 0.0))
        base += tokens * _lookup(self.compute_per_token_s, request_type, 0.0)
        return base * (1.0 + self.jitter * self._rng(request_type, nth).uniform(-1, 1))

    def slow_factor(self, request_type: str, nth: int, at_s: float) -> float:
        """How many times as long as usual it computes, when it starts `at_s` after the service began."""
        return math.prod(slow.factor for slow in self.slow if slow.holds(request_type, nth, at_s))

    def travel_s(self, path: str, number: int) -> tuple[float, float]:
        """How long the service's exchange of this number is on its way: there, and back."""
        rng = self._rng("latency", number)
        found = [latency for latency in self.latency if path.startswith(latency.path)]
        there, back = (self.latency_s + sum(latency.draw_s(rng) for latency in found) for _ in range(2))
        return there, back

    def pause(self, request_type: str, nth: int) -> Pause | None:
        return next((p for p in self.pauses if (p.request_type, p.nth) == (request_type, nth)), None)

    def submit_fault(self, request_type: str, nth: int, attempt: int) -> SubmitFault | None:
        """The fault that meets this attempt (from 1) to submit the request, if any."""
        rate = self._rate("submit", request_type, nth, attempt)
        return _met(self.submit_faults, request_type, nth, attempt) or _of_rate(SubmitFault, rate, nth)

    def poll_fault(self, request_type: str, nth: int, poll: int) -> PollFault | None:
        rate = self._rate("poll", request_type, nth, poll)
        return _met(self.poll_faults, request_type, nth, poll) or _of_rate(PollFault, rate, nth)

    def _rate(self, on: str, request_type: str, nth: int, attempt: int) -> StatusRate | None:
        if not self.status_rates:
            return None
        rng = self._rng(f"{on}/{request_type}/{nth}", attempt)
        return next((rate for rate in self.status_rates if rate.meets(on, request_type, rng.random())), None)

    def _rng(self, what: str, number: int) -> random.Random:
        return random.Random(f"{self.seed}/{what}/{number}")

    def connection_fault(self, on: str, request_type: str, nth: int, attempt: int) -> ConnectionFault | None:
        return _met([fault for fault in self.connection_faults if fault.on == on], request_type, nth, attempt)

    def outage(self, request_type: str, nth: int) -> Outage | None:
        return _of(self.outages, request_type, nth)

    def lost_session(self, request_type: str, nth: int) -> LostSession | None:
        return _of(self.lost_sessions, request_type, nth)

    def expiry(self, request_type: str, nth: int) -> Expiry | None:
        return _of(self.expiries, request_type, nth)

    def future_fault(self, request_type: str, nth: int) -> FutureFault | None:
        return _of(self.future_faults, request_type, nth)


def _lookup(times: Mapping[RequestType, float], request_type: str, otherwise: float) -> float:
    return next((seconds for name, seconds in times.items() if name == request_type), otherwise)


def _of(faults: Iterable[Fault], request_type: str, nth: int) -> Fault | None:
    return next((fault for fault in faults if fault.is_of(request_type, nth)), None)


def _met(faults: Iterable[Attempted], request_type: str, nth: int, attempt: int) -> Attempted | None:
    return next((fault for fault in faults if fault.meets(request_type, nth, attempt)), None)


def _of_rate(kind: type[Status], rate: StatusRate | None, nth: int) -> Status | None:
    if rate is None:
        return None
    return kind(nth=nth, status=rate.status, message=rate.message, retry_after_s=rate.retry_after_s)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a TOML file. Raises `SimError` with one line when it cannot be read or is not a scenario."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise SimError(f"cannot read the scenario {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SimError(f"{path} is not a scenario: {error}") from error
