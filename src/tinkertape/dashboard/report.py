"""The door: what a `Source` answers becomes these values; behind it nothing is `Any`.

Every field has a default, unknown keys are ignored, and a null takes the default: a report of an older or newer
diagnosis is shown as far as it goes. Times that end in `_s` are seconds since the run's begin.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from tinkertape.figures import known_as, marked_as
from tinkertape.structs import made_ready

Quality = Literal["measured", "bounded", "inferred"]
StepId = int | str | None
LIVE = ("running", "paused", "stuck")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")  # JSON may carry half of a surrogate pair; UTF-8, and so a page, cannot


class Ledger(msgspec.Struct, frozen=True):
    recorded: int = 0
    stored: int = 0
    pending: int = 0
    rejected: int = 0
    dropped: dict[str, int] = {}

    @property
    def lost(self) -> int:
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        return self.recorded == self.stored + self.pending + self.rejected + self.lost


class Verdict(msgspec.Struct, frozen=True):
    owner: str = "none"
    lead: str = ""
    sentence: str = ""
    under: str = ""
    well: bool = False


class Owner(msgspec.Struct, frozen=True):
    owner: str = "none"
    seconds: float | None = None
    share: float = 0.0
    role: str = "none"
    say: str = ""


class Part(msgspec.Struct, frozen=True):
    part: str
    owner: str = ""
    seconds: float = 0.0
    share: float = 0.0
    quality: str = "measured"
    min_s: float | None = None
    max_s: float | None = None
    method: str = ""

    @property
    def marked_as(self) -> str:
        """The quality whose mark its seconds carry."""
        return marked_as(self.quality, self.seconds, self.min_s, self.max_s)


class Step(msgspec.Struct, frozen=True):
    step: StepId = None
    began_s: float = 0.0
    ended_s: float | None = None
    wall_s: float = 0.0
    parts: dict[str, float] = {}
    over_s: float = 0.0
    failed: bool = False
    open: bool = False
    inferred: bool = False
    loss: float | None = None
    coverage: float | None = None


class Model(msgspec.Struct, frozen=True):
    model_id: str = ""
    steps: int = 0
    is_main: bool = False


class Operation(msgspec.Struct, frozen=True):
    operation: str
    family: str = ""
    count: int = 0
    errors: int = 0
    open: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None
    retries: int = 0
    polls: int = 0
    calls: list[tuple[float, float, int, StepId]] = []


class Span(msgspec.Struct, frozen=True):
    operation: str
    operation_id: int | None = None
    process: str = ""
    began_s: float = 0.0
    ended_s: float | None = None
    open: bool = False
    step: StepId = None
    error: str | bool | None = None
    request_ids: list[str] = []
    segments: list[tuple[str, float, float]] = []


class Pause(msgspec.Struct, frozen=True):
    began_s: float = 0.0
    ended_s: float | None = None
    length_s: float = 0.0
    min_s: float | None = None
    max_s: float | None = None
    reason: str = "unknown"
    text: str = ""
    operation: str = ""
    request_id: str = ""
    step: StepId = None
    pause: int = 0  # those of several requests at once have the same number


class ErrorGroup(msgspec.Struct, frozen=True):
    owner: str = "none"
    type: str = ""
    message: str = ""
    status_code: int | None = None
    category: str = ""
    operation: str = ""
    count: int = 1
    first_s: float | None = None
    last_s: float | None = None
    request_ids: list[str] = []
    step: StepId = None
    traceback: str = ""


class Retry(msgspec.Struct, frozen=True):
    at_s: float = 0.0
    operation: str = ""
    layer: str = ""
    attempt: int | None = None
    delay_s: float | None = None
    error_type: str = ""
    status_code: int | None = None


class Evidence(msgspec.Struct, frozen=True):
    began_s: float | None = None
    ended_s: float | None = None
    steps: list[StepId] = []
    request_ids: list[str] = []
    figures: dict[str, Any] = {}  # shown as text, never computed with


class Finding(msgspec.Struct, frozen=True):
    cause: str
    owner: str = "none"
    severity: str = "warning"
    confidence: float = 1.0
    summary: str = ""
    cost_s: float | None = None
    share: float | None = None
    evidence: Evidence = Evidence()
    advice: str = ""


class Report(msgspec.Struct, frozen=True):
    run: str
    name: str = ""
    project: str = ""
    state: str = ""
    status: str = ""
    exit_status: int | None = None
    began: str | None = None
    ended: str | None = None
    wall_s: float = 0.0
    model: str = ""
    sdk_version: str = ""
    python: str = ""
    processes: int = 0
    sessions: list[str] = []
    events: int = 0
    verdict: Verdict = Verdict()
    owners: list[Owner] = []
    parts: list[Part] = []
    lost_s: float = 0.0
    over_s: float = 0.0
    steps: list[Step] = []
    steps_completed: int = 0
    usual_step_s: float | None = None
    models: list[Model] = []
    operations: list[Operation] = []
    spans: list[Span] = []
    pauses: list[Pause] = []
    errors: list[ErrorGroup] = []
    retries: list[Retry] = []
    findings: list[Finding] = []
    checked: list[str] = []
    ledger: Ledger = Ledger()
    set_aside: int = 0
    loss: list[tuple[StepId, float | None]] = []

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def is_untold(self) -> bool:
        """Are there events, and no time of any: those of the SDK alone, that tell failures and no durations?"""
        return self.events > 0 and not self.parts and not self.operations

    def is_estimate(self, part: str) -> bool:
        """Is a part's time no measurement?"""
        return any(item.quality != "measured" for item in self.parts if item.part.startswith(part))


class TopFinding(msgspec.Struct, frozen=True):
    cause: str
    owner: str = "none"
    summary: str = ""
    cost_s: float | None = None
    estimate: bool = False  # is its cost no measurement?
    steps: list[StepId] = []


class RunRow(msgspec.Struct, frozen=True):
    """A line of the list. `steps` and `findings` are counts; the optional figures make a column only where some row
    has them."""

    run: str
    name: str = ""
    state: str = ""
    status: str = ""
    began: str | None = None
    ended: str | None = None
    last_event: str | None = None
    wall_s: float | None = None
    model: str = ""
    events: int = 0
    steps: int | None = None
    findings: int = 0
    healthy: bool = False
    lead: str = ""  # how its answer begins
    finding: TopFinding | None = None
    parts: dict[str, float] = {}
    over_s: float = 0.0
    step_walls: list[float] = []

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def is_untold(self) -> bool:
        """Are there events, and no time of any: those of the SDK alone, that tell failures and no durations?"""
        return self.events > 0 and not self.parts and not self.steps

    @property
    def is_without_calls(self) -> bool:
        """Was all of its time idle? Then no call to Tinker was recorded."""
        return set(self.parts) == {"idle"}


made_ready(Report, RunRow, Ledger)


def report_of(data: dict[str, Any]) -> Report:
    """A source's report as a value. Raises `msgspec.ValidationError` when a field has another type than `Report`
    says."""
    report = msgspec.convert(_cleaned(data), Report, strict=False)
    return replace(report, parts=[_as_it_reads(part) for part in report.parts])


def _as_it_reads(part: Part) -> Part:
    """A part whose bounds read alike is as good as measured."""
    return replace(part, quality=known_as(part.quality, part.min_s, part.max_s))


def row_of(data: dict[str, Any]) -> RunRow:
    """A source's row as a value. Raises as `report_of`."""
    return msgspec.convert(_cleaned(data), RunRow, strict=False)


def ledger_of(data: dict[str, Any]) -> Ledger:
    return msgspec.convert(_cleaned(data), Ledger, strict=False)


def _cleaned(value: Any) -> Any:
    """Without nulls in objects (the default stands for them), figures that are no number, and text that no page can
    carry."""
    if isinstance(value, dict):
        return {str(key): _cleaned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if isinstance(value, str):
        return _HALF_PAIR.sub(lambda found: f"\\u{ord(found.group()):04x}", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
