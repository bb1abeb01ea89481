"""The answer in one sentence: who it was, who it was not, and what to do.

Pure text from figures. The sentence begins with the owner; at most two causes are named in it. What is small is not
blamed: an owner is a cause when its findings cost at least a quarter of all that was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinkertape import figures
from tinkertape.diagnosis import words
from tinkertape.diagnosis.findings import FindingOwner, is_estimate
from tinkertape.diagnosis.records import Failure
from tinkertape.diagnosis.report import FindingRow, State, Verdict

EARLY_STEPS = 5
EARLY_S = 30.0
CAUSE_SHARE = 0.25  # of what was lost
LEADS: dict[FindingOwner, str] = {
    "service": "It is Tinker.",
    "you": "It is your code.",
    "network": "It is the network.",
    "none": "",
}
NAMES: dict[FindingOwner, str] = {"service": "Tinker", "you": "your code", "network": "the network", "none": "nobody"}
SIGNALS = {130: " by Ctrl-C", 143: " by SIGTERM"}  # by exit status
ONLY_SDK = "Only the SDK's own events were received; they tell failures, not durations."
FAULTS: dict[str, FindingOwner] = {"user": "you", "client": "you", "service": "service", "network": "network"}


@dataclass
class Facts:
    """The figures that the sentence is made of."""

    state: State
    status: str | None
    exit_status: int | None
    wall_s: float
    steps: int
    step_now: int | None
    usual_step_s: float | None
    calls: int
    findings: list[FindingRow]
    compute_share: float = 0.0
    your_share: float = 0.0  # your code and idle
    idle_share: float = 0.0
    paused_s: float | None = None  # an open pause, and how long
    paused_about: bool = False  # known between bounds only
    paused_text: str = ""
    paused_step: int | None = None
    failure: Failure | None = None
    failure_where: str = ""
    failure_step: int | None = None
    ledger: dict[str, Any] | None = None
    order: list[FindingOwner] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)  # seen, and perhaps without a finding
    only_sdk: bool = False  # nothing but the SDK's own events was received


def owners_at_fault(findings: list[FindingRow]) -> list[FindingOwner]:
    """The owners whose findings cost a quarter or more of all that was lost, the costliest first."""
    costs: dict[FindingOwner, float] = {}
    for finding in findings:
        if finding.owner != "none" and finding.severity != "info":
            costs[finding.owner] = costs.get(finding.owner, 0.0) + (finding.cost_s or 0.0)
    total = sum(costs.values())
    ranked = sorted(costs, key=lambda owner: -costs[owner])
    return [owner for index, owner in enumerate(ranked) if index == 0 or costs[owner] >= CAUSE_SHARE * total > 0]


def verdict(facts: Facts) -> Verdict:
    """The answer."""
    live = facts.state in ("running", "paused", "stuck")
    if facts.state == "killed":
        where = f"in step {facts.step_now}, " if facts.step_now is not None else ""
        until = "everything recorded until then is here."
        return Verdict("none", "Killed", f"{where}from outside the program; {until}", _rest(facts, []))
    if facts.state == "failed":
        return _failed(facts)
    if facts.only_sdk:
        return Verdict("none", "Cannot say.", ONLY_SDK, _rest(facts, facts.findings))
    if live and facts.paused_s is not None:
        return _paused(facts)
    if facts.findings:
        return _caused(facts)
    lost = _gap(facts, 0.01)
    if lost:
        return Verdict("none", "Cannot say:", lost, "No cause was found in what was recorded.")
    if facts.calls == 0:
        return Verdict("none", "Nothing to say:", "no call to Tinker was recorded.", _rest(facts, []))
    if live and facts.steps < EARLY_STEPS and facts.wall_s < EARLY_S:
        seen = (
            f"{words.count(facts.steps, 'step')} seen." if facts.steps else f"{words.count(facts.calls, 'call')} seen."
        )
        under = f"The first answer comes after {EARLY_STEPS} steps or {words.seconds(EARLY_S)}. {_rest(facts, [])}"
        return Verdict("none", "Too early to say:", seen, under.strip())
    return _healthy(facts)


def _healthy(facts: Facts) -> Verdict:
    if facts.steps and facts.usual_step_s is not None:
        what = f"{words.count(facts.steps, 'step')} of about {words.seconds(facts.usual_step_s)} each, as usual"
    else:
        what = f"{words.count(facts.calls, 'call')} in {words.seconds(facts.wall_s)}, no pause and no error"
    if facts.your_share < 0.15:
        rest = "; nothing waits on you."
    elif facts.idle_share >= facts.your_share / 2:
        rest = f"; for {words.percent(facts.idle_share)} of the time nothing was in flight."
    else:
        rest = f"; {words.percent(facts.your_share)} of the time is your own code."
    under = f"{words.percent(facts.compute_share)} of the time is Tinker computing."
    if facts.idle_share >= 0.15:
        under += " Idle: your code ran between the calls, with nothing of yours at Tinker."
    if facts.trouble:
        seen = f"No detector names a cause, but there were {words.listed(facts.trouble)}."
        return Verdict("none", "No cause found.", seen, f"{under} {_rest(facts, [])}".strip())
    return Verdict("none", "Healthy.", what + rest, f"{under} {_rest(facts, [])}".strip())


def _paused(facts: Facts) -> Verdict:
    since = f" since step {facts.paused_step}" if facts.paused_step is not None else ""
    says = f"The service says: “{facts.paused_text}”. " if facts.paused_text else ""
    return Verdict(
        "service",
        "Waiting for Tinker",
        f"for {words.about(facts.paused_s, estimate=facts.paused_about)}: paused for capacity{since}.",
        f"{says}Nothing to do; the run goes on by itself.",
    )


def _failed(facts: Facts) -> Verdict:
    failure = facts.failure
    owner: FindingOwner
    if failure is None:
        how = f"exit status {facts.exit_status}" if facts.exit_status else "an error"
        return Verdict("none", "Failed.", f"The program ended with {how}.", _rest(facts, facts.findings))
    owner = "none" if failure.is_interruption else FAULTS.get(failure.owner, "none")
    leads = {"you": "Failed by your code.", "service": "Failed at Tinker.", "network": "Failed on the network."}
    where = f" at {facts.failure_where}" if facts.failure_where else ""
    step = f", step {facts.failure_step}" if facts.failure_step is not None else ""
    message = words.first_line(failure.message).rstrip(".")
    text = f"{failure.error_type}: {message}" if message else failure.error_type
    others = [finding for finding in facts.findings if finding.owner != owner]
    under = "" if others else {"you": "Tinker and the network were healthy until then."}.get(owner, "")
    under = ONLY_SDK if facts.only_sdk else under
    return Verdict(
        owner, leads.get(owner, "Failed."), f"{text}{where}{step}.", f"{under} {_rest(facts, others)}".strip()
    )


def _caused(facts: Facts) -> Verdict:
    guilty = owners_at_fault(facts.findings)
    if not guilty:
        guilty = [facts.findings[0].owner]
    first = guilty[0]
    mine = [finding for finding in facts.findings if finding.owner in guilty]
    others = [finding for finding in facts.findings if finding.owner not in guilty]
    if len(guilty) > 1:
        costs = [
            (owner, sum(finding.cost_s or 0.0 for finding in mine if finding.owner == owner)) for owner in guilty[:2]
        ]
        said = [
            f"{NAMES[owner]} {'cost ' if index == 0 else ''}{words.about(cost, estimate=estimated(mine, owner))}"
            f" ({words.percent(cost / facts.wall_s if facts.wall_s else 0.0)})"
            for index, (owner, cost) in enumerate(costs)
        ]
        under = " ".join(_as_sentence(finding) for finding in mine[:3])
        return Verdict(first, "Two causes:", f"{', '.join(said)}.", f"{under} {_rest(facts, others)}".strip())
    phrases = _phrases(mine)
    sentence = f"It {' and '.join(phrases[:2])}." if first != "you" else f"{phrases[0]}."
    sentence = sentence.replace(" and computes", ", and computes").replace(" and computed", ", and computed")
    also = f"It also {words.listed(phrases[2:])}." if len(phrases) > 2 and first != "you" else ""
    under = " ".join(each for each in (also, _advice(facts, first, mine), _rest(facts, others)) if each)
    return Verdict(first, LEADS[first], sentence, under)


def estimated(findings: list[FindingRow], owner: FindingOwner) -> bool:
    """Is any cost of an owner's findings no measurement?"""
    return any(is_estimate(row.cause, row.evidence["figures"]) for row in findings if row.owner == owner)


def _advice(facts: Facts, owner: FindingOwner, mine: list[FindingRow]) -> str:
    if owner == "you":
        return " ".join(dict.fromkeys(finding.advice for finding in mine if finding.advice))
    said = ["Nothing to change in your code." if owner == "service" else mine[0].advice]
    ended = facts.state == "ended" and facts.status == "success"
    pauses = [finding for finding in mine if finding.cause == "capacity-pause"]
    paused = bool(pauses) and all(finding.evidence.get("ended_s") is not None for finding in pauses)
    if paused and ended and facts.steps:
        said.append(f"The pause ended by itself, and {_all(facts.steps)} done.")
    elif paused:
        said.append("The pause ended by itself.")
    elif ended and facts.steps:
        said.append(f"{_all(facts.steps).capitalize()} done.")
    return " ".join(each for each in said if each)


def _all(steps: int) -> str:
    return f"all {steps} steps are" if steps > 1 else "the step is"


def _phrases(findings: list[FindingRow]) -> list[str]:
    """What happened, to follow "It …" (of yours: a sentence of its own), pauses counted together, costliest first."""
    pauses = [finding for finding in findings if finding.cause == "capacity-pause"]
    out: list[str] = []
    for finding in findings:
        if finding.cause != "capacity-pause":
            out.append(_phrase(finding))
        elif finding is pauses[0]:
            out.append(_pauses_phrase(pauses))
    return list(dict.fromkeys(out))


def _pauses_phrase(pauses: list[FindingRow]) -> str:
    length = sum(finding.cost_s or 0.0 for finding in pauses)
    estimate = estimated(pauses, "service")
    if length <= 0:
        length = sum(finding.evidence["figures"].get("length_s", 0.0) for finding in pauses)
        return f"paused a request for {words.about(length, estimate=estimate)} that nobody waited for"
    numbers = sorted({step for finding in pauses for step in finding.evidence["steps"]})
    where = f" {words.steps(numbers)}" if numbers else ""
    times = "" if len(pauses) == 1 else f" {len(pauses)} times, together"
    return f"paused this run{times} for {words.about(length, estimate=estimate)}{where}"


def _phrase(finding: FindingRow) -> str:
    numbers = finding.evidence["steps"]
    figures = finding.evidence["figures"]
    goes_on = finding.evidence["ended_s"] is None
    where = f" {words.steps(numbers, goes_on=goes_on)}" if numbers else ""
    names = finding.evidence["operations"]
    if finding.cause == "slow-service":
        return f"{'computes' if goes_on else 'computed'} {words.factor(figures['factor'])} slower{where}"
    if finding.cause == "unreachable":
        length = words.seconds(figures["length_s"])
        return (
            f"lets nothing through, for {length} now{where}" if goes_on else f"let nothing through for {length}{where}"
        )
    where = f" {words.steps(numbers)}" if numbers else ""
    if finding.cause == "service-errors":
        if figures.get("failed"):
            return f"failed {words.listed([f'`{name}`' for name in names[:2]])}{where}"
        answered = words.listed(sorted(figures.get("statuses", {})))
        return f"answered {words.count(figures.get('attempts', 0), 'attempt')} with {answered}{where}"
    if finding.cause == "flaky-network":
        return f"broke {words.count(figures['broken'], 'connection')}{where}"
    return finding.summary.rstrip(".") + where


def _as_sentence(finding: FindingRow) -> str:
    if finding.owner == "network":
        return f"The network {_phrase(finding)}."
    if finding.owner == "service":
        phrase = _pauses_phrase([finding]) if finding.cause == "capacity-pause" else _phrase(finding)
        return f"Tinker {phrase}."
    return f"{_phrase(finding)}."


def _rest(facts: Facts, others: list[FindingRow]) -> str:
    said = [_as_sentence(finding) for finding in others[:2]]
    if facts.status == "interrupted":
        where = f" in step {facts.step_now}" if facts.step_now is not None else ""
        said.append(f"It was interrupted{SIGNALS.get(facts.exit_status or 0, '')}{where}.")
    gap = _gap(facts, 0.0)
    if gap:
        said.append(gap[0].upper() + gap[1:])
    return " ".join(said)


def _gap(facts: Facts, least: float) -> str:
    """What was lost of the record, if it is more than a share of it."""
    ledger = facts.ledger or {}
    dropped: dict[str, int] = ledger.get("dropped") or {}
    lost, recorded = sum(dropped.values()), ledger.get("recorded") or 0
    if not lost or lost <= least * recorded:
        return ""
    of_all = figures.count(recorded)
    return f"{words.count(lost, 'event')} of {of_all} could not be kept ({', '.join(sorted(dropped))})."
