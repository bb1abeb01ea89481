"""The answer in one sentence: who it was, who it was not, and what to do.

Pure text from figures. The sentence begins with the owner; at most two causes are named in it. What is small is not
blamed: an owner is a cause when its findings cost at least a quarter of all that was lost, and none when they cost
nothing. A figure that is no measurement says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tinkertape import figures
from tinkertape.diagnosis import words
from tinkertape.diagnosis.done import FailedCall, steps_done
from tinkertape.diagnosis.findings import FindingOwner
from tinkertape.diagnosis.records import Failure
from tinkertape.diagnosis.report import FindingRow, State, Verdict
from tinkertape.diagnosis.run_state import LIVE
from tinkertape.diagnosis.sentences import SUBJECTS, estimated, is_open, is_pause, phrases, sentences

EARLY_STEPS = 5
EARLY_S = 30.0
CAUSE_SHARE = 0.25  # of what was lost
LOST_MAX = 0.01  # of the events; with more of them gone no run is called healthy
HEALTHY = "Healthy, as far as this run shows:"  # it is compared with itself: slow from its first call, it looks so too
LEADS: dict[FindingOwner, str] = {
    "service": "It is Tinker.",
    "you": "It is your code.",
    "network": "It is the network.",
    "none": "Not clear whose:",
}
ACCOUNT = "It is your account."  # nothing is wrong with the code
REASONS = {"capacity": "capacity", "rate_limit": "rate limit", "unknown": "no reason given"}
NAMES: dict[FindingOwner, str] = {"service": "Tinker", "you": "your code", "network": "the network", "none": "nobody"}
SIGNALS = {130: " by Ctrl-C", 143: " by SIGTERM"}  # by exit status
NO_CALL = "No Tinker call was recorded"
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
    where: str  # it was when it ended: in a step, or after one
    usual_step_s: float | None
    calls: int
    findings: list[FindingRow]
    compute_said: str = ""  # the share of Tinker computing, as it is known
    your_share: float = 0.0  # your code and idle
    idle_share: float = 0.0
    paused_s: float | None = None  # an open pause, and how long
    paused_about: bool = False  # known between bounds only
    paused_reason: str = "unknown"
    paused_text: str = ""
    paused_step: int | None = None
    failed: list[FailedCall] = field(default_factory=list)
    failure: Failure | None = None
    failure_where: str = ""
    failure_step: int | None = None
    ledger: dict[str, Any] | None = None
    order: list[FindingOwner] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)  # seen, and perhaps without a finding
    only_sdk: bool = False  # nothing but the SDK's own events was received
    set_aside: int = 0  # lines of the record that could not be read
    mainly: str = ""  # what the operation that took most of the time took

    @property
    def live(self) -> bool:
        return self.state in LIVE


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
    if facts.state == "killed":
        return _killed(facts)
    if facts.state == "failed":
        return _failed(facts)
    if facts.only_sdk:
        return Verdict("none", "Cannot say.", ONLY_SDK, _rest(facts, facts.findings))
    if facts.live and facts.paused_s is not None:
        return _paused(facts)
    if any(finding.severity != "info" for finding in facts.findings):
        return _caused(facts)
    lost = _gap(facts, LOST_MAX) or _unread(facts)
    if lost:
        return Verdict("none", "Cannot say:", lost, "No cause was found in what was recorded.")
    if facts.calls == 0:
        return Verdict("none", f"{NO_CALL} yet." if facts.live else f"{NO_CALL}.", "", _rest(facts, []))
    if facts.live and facts.steps < EARLY_STEPS and facts.wall_s < EARLY_S:
        seen = words.count(facts.steps, "step") if facts.steps else words.count(facts.calls, "call")
        under = f"The first answer comes after {EARLY_STEPS} steps or {words.seconds(EARLY_S)}."
        return Verdict("none", "Too early to say:", f"{seen} seen.", f"{under} {_rest(facts, facts.findings)}".strip())
    return _healthy(facts)


def _healthy(facts: Facts) -> Verdict:
    if facts.steps and facts.usual_step_s is not None:
        what = f"{words.count(facts.steps, 'step')}, usually {words.seconds(facts.usual_step_s)} each"
    else:
        what = f"{words.count(facts.calls, 'call')} in {words.seconds(facts.wall_s)}"
    if facts.your_share < 0.15:
        rest = "; nothing waits on you."
    elif facts.idle_share >= facts.your_share / 2:
        rest = f"; for {words.percent(facts.idle_share)} of the time nothing was in flight."
    else:
        rest = f"; {words.percent(facts.your_share)} of the time is your own code."
    under = f"{facts.compute_said[:1].upper()}{facts.compute_said[1:]} of the time is Tinker computing."
    if facts.idle_share >= 0.15:
        under += " Idle: your code ran between the calls, with nothing of yours at Tinker."
    if facts.findings:
        told = " ".join(sentences(facts.findings, live=facts.live)[:2])
        beside = any(finding.cost_s for finding in facts.findings)  # another thread waited for it
        lead = "The steps went on:" if beside and facts.steps else "No harm done:"
        return Verdict("none", lead, told, f"{what}{rest} {under} {_rest(facts, [])}".strip(), well=True)
    if facts.trouble:
        seen = f"No detector names a cause, but {_there_was(facts.trouble)}."
        return Verdict("none", "No cause found.", seen, f"{under} {_rest(facts, [])}".strip())
    alone = f"{facts.mainly}; one run alone cannot say whether that is slow for this model." if facts.mainly else ""
    return Verdict("none", HEALTHY, what + rest, f"{under} {alone} {_rest(facts, [])}".strip(), well=True)


def _paused(facts: Facts) -> Verdict:
    limits = [finding for finding in facts.findings if finding.cause == "rate-limit-self" and is_open(finding)]
    since = f", since step {facts.paused_step}" if facts.paused_step is not None else ""
    says = f"The service says: “{facts.paused_text}”. " if facts.paused_text else ""
    do = limits[0].advice if limits else "Nothing to do; the run goes on by itself."
    paused = f"(paused: {REASONS.get(facts.paused_reason, facts.paused_reason)})"
    return Verdict(
        "you" if limits else "service",
        "Waiting for Tinker",
        f"for {words.about(facts.paused_s, estimate=facts.paused_about)} {paused}{since}.",
        f"{says}{do}",
    )


def _killed(facts: Facts) -> Verdict:
    where = f"{facts.where}, " if facts.where else ""
    told = sentences(facts.findings, live=False)
    before = "" if not told else f" Before that: {' '.join(told[:2])}"
    more = f" And {words.count(len(told) - 2, 'finding')} more." if len(told) > 2 else ""
    here = "Everything recorded until then is here." if facts.calls else f"{NO_CALL} until then."
    under = f"{here} {_rest(facts, [])}".strip()
    return Verdict("none", "Killed", f"{where}from outside the program or by os._exit.{before}{more}", under)


def _failed(facts: Facts) -> Verdict:
    failure = facts.failure
    owner: FindingOwner
    if failure is None:
        how = f"exit status {facts.exit_status}" if facts.exit_status else "an error"
        silent = "" if facts.calls or facts.only_sdk else f"{NO_CALL}. "
        return Verdict(
            "none", "Failed.", f"The program ended with {how}.", f"{silent}{_rest(facts, facts.findings)}".strip()
        )
    owner = "none" if failure.is_interruption else FAULTS.get(failure.owner, "none")
    leads = {"you": "Failed by your code.", "service": "Failed at Tinker.", "network": "Failed on the network."}
    where = f" at {facts.failure_where}" if facts.failure_where else ""
    step = f", step {facts.failure_step}" if facts.failure_step is not None else ""
    message = words.quoted(words.first_line(failure.message).rstrip("."))
    text = f"{failure.error_type}: {message}" if message else failure.error_type
    others = [finding for finding in facts.findings if finding.owner != owner or owner == "none"]
    under = ONLY_SDK if facts.only_sdk else "" if others else _until_then(facts, failure, owner)
    return Verdict(
        owner, leads.get(owner, "Failed."), f"{text}{where}{step}.", f"{under} {_rest(facts, others)}".strip()
    )


def _until_then(facts: Facts, failure: Failure, owner: FindingOwner) -> str:
    """How Tinker and the network were before the program failed, if anything says so."""
    if failure.category == "unknown":
        return "The service did not say whose mistake it was."
    if owner != "you":
        return ""
    if facts.calls == 0:
        return f"{NO_CALL}."
    if facts.trouble:
        return f"Before that {_there_was(facts.trouble)}."
    return "Until then nothing was found wrong with Tinker or the network."


def _there_was(trouble: list[str]) -> str:
    one = len(trouble) == 1 and trouble[0].startswith("1 ")
    return f"there {'was' if one else 'were'} {words.listed(trouble)}"


def _caused(facts: Facts) -> Verdict:
    guilty = owners_at_fault(facts.findings)
    if not guilty:
        guilty = [next(finding.owner for finding in facts.findings if finding.severity != "info")]
    first = guilty[0]
    mine = [finding for finding in facts.findings if finding.owner in guilty]
    others = [finding for finding in facts.findings if finding.owner not in guilty]
    if len(guilty) > 1:
        costs = [
            (owner, sum(finding.cost_s or 0.0 for finding in mine if finding.owner == owner)) for owner in guilty[:2]
        ]
        said = [
            f"{NAMES[owner]} {'cost ' if index == 0 else ''}{words.about(cost, estimate=estimated(_of(mine, owner)))}"
            f" ({words.percent(cost / facts.wall_s if facts.wall_s else 0.0)})"
            for index, (owner, cost) in enumerate(costs)
        ]
        under = " ".join(sentences(mine, live=facts.live)[:3])
        return Verdict(first, "Two causes:", f"{', '.join(said)}.", f"{under} {_rest(facts, others)}".strip())
    told = phrases(mine, live=facts.live)
    sentence = f"It {' and '.join(told[:2])}." if first in SUBJECTS else f"{told[0]}."
    sentence = sentence.replace(" and computes", ", and computes").replace(" and computed", ", and computed")
    also = f"It also {words.listed(told[2:])}." if len(told) > 2 and first in SUBJECTS else ""
    also = " ".join(f"{each}." for each in told[1:3]) if first not in SUBJECTS else also
    seen = f"And {_there_was(facts.trouble)}." if first == "none" and facts.trouble else ""
    rest = _rest(facts, others)
    advice = _advice(facts, first, mine, f"{sentence} {also} {rest}")
    lead = ACCOUNT if first == "you" and mine[0].cause == "billing-hold" else LEADS[first]
    return Verdict(first, lead, sentence, " ".join(each for each in (also, advice, seen, rest) if each))


def _of(findings: list[FindingRow], owner: FindingOwner) -> list[FindingRow]:
    return [finding for finding in findings if finding.owner == owner]


def _advice(facts: Facts, owner: FindingOwner, mine: list[FindingRow], told: str) -> str:
    if owner != "service":
        return " ".join(dict.fromkeys(finding.advice for finding in mine if finding.advice))
    said = ["Nothing to change in your code."]
    done = bool(facts.steps) and facts.state == "ended" and facts.status == "success"
    pauses = [finding for finding in mine if is_pause(finding)]
    if pauses and not any(is_open(finding) for finding in pauses):
        over = "The pause ended by itself" if len(pauses) == 1 else "The pauses ended by themselves"
        said.append(f"{over}, and {steps_done(facts.steps, facts.failed, told)}." if done else f"{over}.")
    elif done:
        whole = steps_done(facts.steps, facts.failed, told)
        said.append(f"{whole[0].upper()}{whole[1:]}.")
    said += [finding.advice for finding in mine if finding.cause == "session-lost"]  # nothing goes on by itself
    return " ".join(said)


def _rest(facts: Facts, others: list[FindingRow]) -> str:
    said = sentences(others, live=facts.live)[:2]
    if facts.status == "interrupted":
        where = f" {facts.where}" if facts.where else ""
        said.append(f"It was interrupted{SIGNALS.get(facts.exit_status or 0, '')}{where}.")
    gap = _gap(facts, 0.0)
    if gap:
        said.append(gap[0].upper() + gap[1:])
    return " ".join(said)


def _gap(facts: Facts, least: float) -> str:
    """What was lost of the record, if it is more than a share of it."""
    ledger = facts.ledger or {}
    dropped: dict[str, int] = dict(ledger.get("dropped") or {})
    if facts.live:
        dropped.pop("torn", None)  # it is being written
    lost, recorded = sum(dropped.values()), ledger.get("recorded") or 0
    if not lost or lost <= least * recorded:
        return ""
    of_all = figures.count(recorded)
    return f"{words.count(lost, 'event')} of {of_all} could not be kept ({', '.join(sorted(dropped))})."


def _unread(facts: Facts) -> str:
    """What of the record could not be read, or is in no count."""
    ledger = facts.ledger or {}
    unread = facts.set_aside or ledger.get("rejected") or 0
    if unread:
        return f"{words.count(unread, 'line')} of the record could not be read."
    recorded = ledger.get("recorded") or 0
    placed = sum(ledger.get(place) or 0 for place in ("stored", "pending", "rejected"))
    placed += sum((ledger.get("dropped") or {}).values())
    if facts.live or "stored" not in ledger or recorded == placed:
        return ""
    return f"of {words.count(recorded, 'event')} that were recorded, {figures.count(placed)} are accounted for."
