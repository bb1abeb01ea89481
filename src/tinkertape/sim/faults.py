"""What can go wrong in the simulated service: a value for each kind of fault. Pure data; a `Scenario` holds them.

Where a fault names the nth request, requests are counted by type, from 1, in the order in which the service first saw
them.
"""

from __future__ import annotations

import math
import random
from typing import Literal

import msgspec

from tinkertape.sim.errors import Category

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
How = Literal["reset", "half", "hang", "garbled"]


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


YEAR_S = 31_536_000.0  # beyond it a time is a mistake, and no clock counts its nanoseconds
ALLOWED = {  # by key, in whichever part it stands; times are seconds
    **dict.fromkeys(("nth", "first", "last", "times", "max_datum_tokens", "max_body_bytes"), Allowed(1)),
    **dict.fromkeys(("samples_at_once", "metadata_from_bytes"), Allowed(0)),
    **dict.fromkeys(("length_s", "after_s", "retry_after_s", "one_way_s", "from_s", "until_s"), Allowed(0.0, YEAR_S)),
    **dict.fromkeys(("poll_hold_s", "latency_s", "seq_gap_s"), Allowed(0.0, YEAR_S)),
    **dict.fromkeys(("upload_bytes_per_s", "download_bytes_per_s"), Allowed(0.0)),
    "factor": Allowed(0.0, 1_000_000.0),
    "jitter": Allowed(0.0, 1.0),
    "share": Allowed(0.0, 1.0),
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


class Latency(Part, frozen=True, kw_only=True):
    """Exchanges whose route begins with `path` (after /api/v1) take so long on their way, each way, beside `latency_s`.

    "fixed": always `one_way_s`. "uniform": evenly between 0 and twice that. "exponential": that on average, rarely
    very long.
    """

    one_way_s: float
    path: str = "/"
    distribution: Literal["fixed", "uniform", "exponential"] = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path.startswith("/"):
            raise ValueError(f"path is {self.path!r}; allowed is a route after /api/v1, as in '/optim_step'")

    def draw_s(self, rng: random.Random) -> float:
        if self.distribution == "uniform":
            return rng.uniform(0.0, 2 * self.one_way_s)
        if self.distribution == "exponential" and self.one_way_s > 0:
            return rng.expovariate(1 / self.one_way_s)
        return self.one_way_s


class Slow(Part, frozen=True, kw_only=True):
    """Requests of these types compute `factor` times as long as usual: the `first` to the `last` (both included; None:
    to the end) of those that start `from_s` to `until_s` after the service began.
    """

    factor: float
    first: int = 1
    last: int | None = None
    from_s: float = 0.0
    until_s: float | None = None
    request_types: tuple[RequestType, ...] = ("ForwardBackward", "OptimStep")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last is not None and self.last < self.first:
            raise ValueError(f"last is {self.last}; allowed is a whole number of at least first, which is {self.first}")
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s is {self.until_s}; allowed is a number above from_s, which is {self.from_s}")

    def holds(self, request_type: str, nth: int, at_s: float) -> bool:
        numbered = self.first <= nth and (self.last is None or nth <= self.last)
        timed = self.from_s <= at_s and (self.until_s is None or at_s < self.until_s)
        return request_type in self.request_types and numbered and timed


class Pause(Part, frozen=True, kw_only=True):
    """The nth request of a type finds its queue held for `length_s`; so do the requests of the same model behind it.

    `after_s` 0: before its compute begins. More than 0: after that much of its compute, which goes on where it stopped.
    """

    nth: int
    length_s: float
    request_type: RequestType = "ForwardBackward"
    reason: Literal["capacity", "rate_limit", "unknown"] = "capacity"
    text: str = "no machine is free for this model"
    after_s: float = 0.0


class OfRequest(Part, frozen=True, kw_only=True):
    """A fault that meets the nth request of a type."""

    nth: int
    request_type: RequestType = "ForwardBackward"

    def is_of(self, request_type: str, nth: int) -> bool:
        return (self.request_type, self.nth) == (request_type, nth)


class OfAttempt(OfRequest, frozen=True, kw_only=True):
    """A fault that meets the first `times` attempts at something for the nth request of a type."""

    times: int = 1

    def meets(self, request_type: str, nth: int, attempt: int) -> bool:
        return self.is_of(request_type, nth) and attempt <= self.times


class StatusFault(OfAttempt, frozen=True, kw_only=True):
    """They are answered with this HTTP status."""

    status: int
    message: str = "the service is overloaded"
    retry_after_s: float | None = None


class SubmitFault(StatusFault, frozen=True, kw_only=True):
    """An attempt to submit it."""


class PollFault(StatusFault, frozen=True, kw_only=True):
    """A poll for it."""

    message: str = "upstream did not answer"


class StatusRate(Part, frozen=True, kw_only=True):
    """This share of the attempts to submit, or of the polls, is answered with this HTTP status; the seed says which.

    `request_types` empty: whatever it is for.
    """

    status: int
    share: float
    on: Literal["submit", "poll"] = "submit"
    request_types: tuple[RequestType, ...] = ()
    message: str = "the service is overloaded"
    retry_after_s: float | None = None

    def meets(self, on: str, request_type: str, draw: float) -> bool:
        return self.on == on and draw < self.share and (not self.request_types or request_type in self.request_types)


class FutureFault(OfRequest, frozen=True, kw_only=True):
    """It is accepted, computed, and then fails with this category."""

    category: Category = "server"
    message: str = "the worker was lost"


class Expiry(OfRequest, frozen=True, kw_only=True):
    """Its promise is forgotten and never computed: polls for it are answered 410, and sent again it is a new one."""

    times: int = 1  # so many promises for it


class ConnectionFault(OfAttempt, frozen=True, kw_only=True):
    """The connection breaks under an attempt to submit it, or under a poll for it.

    "reset": before anything is answered, and a submit is not taken. "half": in the middle of the answer, so that a
    submit is taken and the client does not know it. "hang": nothing is answered for `length_s`, and then it is reset;
    a submit is not taken. "garbled": the answer comes, and is a page of a proxy's instead of JSON; a submit is taken.
    """

    how: How = "reset"
    on: Literal["submit", "poll"] = "submit"
    length_s: float = 60.0


class LostSession(OfRequest, frozen=True, kw_only=True):
    """`after_s` after it was accepted all sessions that there are end: their heartbeats and what else is submitted for
    them are answered 410. What was accepted is computed on, and handed over.
    """

    after_s: float = 0.0


class Outage(OfRequest, frozen=True, kw_only=True):
    """Nothing gets through for `length_s`, from `after_s` after the nth request of a type was accepted.

    "refused": open connections are reset and new ones refused. "silent": connections stay open, new ones are taken, and
    nothing is answered; in the end they are reset. What was accepted is computed on. "restarted": refused, and what was
    accepted and not ready is forgotten: its polls are answered 410 then.
    """

    length_s: float
    how: Literal["refused", "silent", "restarted"] = "refused"
    after_s: float = 0.0
