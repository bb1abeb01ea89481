"""What a report of a run says: the one source of the terminal, the page and `--json`.

Names with `_s` are seconds; begins and ends are seconds since the run's begin. `None` is unknown, `0` is zero. The
seconds of `parts` add up to `wall_s`, and those of a step's parts to the step's; of a run of which only the SDK's own
events were received there are none.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tinkertape.diagnosis.findings import FindingOwner, Severity
from tinkertape.diagnosis.parts import PartOwner, Quality

State = Literal["running", "paused", "stuck", "failed", "ended", "killed"]
Role = Literal["cause", "not", "usual", "none"]


class Verdict(msgspec.Struct, frozen=True):
    """The answer in one sentence: `lead` names the owner, `sentence` says why, `under` what to do. `well`: nothing is
    wrong, as far as a whole record shows; never where the answer is that it cannot say.
    """

    owner: FindingOwner
    lead: str
    sentence: str
    under: str
    well: bool = False


class Owner(msgspec.Struct, frozen=True):
    """What one owner had of the time (None: not recorded), and whether it is to blame."""

    owner: PartOwner
    seconds: float | None
    share: float
    role: Role
    say: str


class Part(msgspec.Struct, frozen=True):
    """One part of the wall time; `quality` says how it is known, `method` by what."""

    part: str
    owner: PartOwner
    seconds: float
    share: float
    quality: Quality
    min_s: float
    max_s: float
    method: str


class Step(msgspec.Struct, frozen=True):
    """One turn of the training loop. `over_s` of its compute is above usual; `coverage` is the share of its time in
    which something of yours was at the service.
    """

    step: int
    began_s: float
    ended_s: float
    wall_s: float
    parts: dict[str, float]
    over_s: float
    failed: bool
    open: bool
    inferred: bool
    loss: float | None
    coverage: float


class ModelRow(msgspec.Struct, frozen=True):
    """How many steps one model took that was trained. `is_main`: they are the run's `steps`; another model's calls are
    among the operations, and cut no step.
    """

    model_id: str
    steps: int
    is_main: bool


class OperationRow(msgspec.Struct, frozen=True):
    """Every call of one operation; `calls` are (began_s, wall_s, ok 1 or 0, step or None)."""

    operation: str
    family: str
    count: int
    errors: int
    open: int
    p50_s: float | None
    p95_s: float | None
    max_s: float | None
    retries: int
    polls: int
    calls: list[tuple[float, float, int, int | None]]


class Span(msgspec.Struct, frozen=True):
    """One call on the timeline; `segments` are (part, from_s, to_s)."""

    operation_id: int
    operation: str
    process: str
    began_s: float
    ended_s: float
    open: bool
    step: int | None
    error: str | None
    request_ids: list[str]
    segments: list[tuple[str, float, float]]


class PauseRow(msgspec.Struct, frozen=True):
    """The service held one request's queue; the length lies between `min_s` and `max_s`.

    Requests that are held at once are one pause to whoever waits: they have the same `pause`, from 1.
    """

    began_s: float
    ended_s: float | None
    length_s: float
    min_s: float
    max_s: float
    reason: str
    text: str
    operation: str
    request_id: str
    step: int | None
    pause: int = 0


class ErrorRow(msgspec.Struct, frozen=True):
    """One kind of error, as often as it came."""

    owner: FindingOwner
    type: str
    message: str
    status_code: int | None
    category: str | None
    operation: str
    count: int
    first_s: float
    last_s: float
    request_ids: list[str]
    step: int | None
    traceback: str


class RetryRow(msgspec.Struct, frozen=True):
    """Something failed at `at_s` and was tried again after `delay_s`."""

    at_s: float
    operation: str
    layer: str
    attempt: int
    delay_s: float
    error_type: str
    status_code: int | None


class FindingRow(msgspec.Struct, frozen=True):
    """A cause that was seen, as scripts and pages read it."""

    cause: str
    owner: FindingOwner
    severity: Severity
    confidence: float
    summary: str
    cost_s: float | None
    share: float | None
    evidence: dict[str, Any]
    advice: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is said of a run."""

    run: str
    name: str
    project: str
    state: State
    status: str | None
    exit_status: int | None = None  # of the first process, as a shell sees it; None: not known
    began: str | None
    ended: str | None
    wall_s: float
    model: str
    sdk_version: str
    python: str
    processes: int
    sessions: list[str]
    events: int
    verdict: Verdict
    owners: list[Owner]
    parts: list[Part]
    lost_s: float
    over_s: float
    steps: list[Step]
    usual_step_s: float | None
    models: list[ModelRow] = []
    steps_completed: int = 0  # without one that is open: the number that is told wherever steps are counted
    operations: list[OperationRow]
    spans: list[Span]
    pauses: list[PauseRow]
    errors: list[ErrorRow]
    retries: list[RetryRow]
    findings: list[FindingRow]
    checked: list[str]
    ledger: dict[str, Any] | None
    set_aside: int = 0  # damaged lines that nothing here is made of
    loss: list[tuple[int, float]]

    @property
    def healthy(self) -> bool:
        """Is all well, without any finding? The one meaning of the word, for scripts, terminal, page and list."""
        return self.verdict.well and not self.findings


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain dicts and lists, for JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain
