"""What findings say in a sentence: who did what, where and for how long. Pure text from rows, the costliest first.

Pauses of one cause are counted together. A finding of the service's or the network's is a phrase that follows "It …"
or "Tinker …"; one of yours or of nobody's is a sentence of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinkertape.diagnosis import words
from tinkertape.diagnosis.findings import OWN, WAITED_BY, is_estimate
from tinkertape.diagnosis.report import FindingRow

PAUSE = "-pause"  # ends the causes that are pauses of a queue
OF_THE_RUN = ("rate-limit-self", "billing-hold")  # their sentences end with what is no matter of a step
NAMED = 2  # threads by their names; more are counted
SUBJECTS = {"service": "Tinker", "network": "The network"}
HELD_UP = "paused this run"
WHY = {"rate_limit": " (rate limit)", "unknown": " (no reason given)"}


def phrases(rows: Sequence[FindingRow], *, live: bool = True) -> list[str]:
    """What happened, each once. `live`: what is open goes on, else it went on until the end."""
    return _joined(list(dict.fromkeys(phrase for _, phrase in _told(rows, live))))


def sentences(rows: Sequence[FindingRow], *, live: bool = True) -> list[str]:
    """The same, each with its subject."""
    told = [f"{SUBJECTS.get(owner, '')} {phrase}".lstrip() for owner, phrase in _told(rows, live)]
    return [f"{each}." for each in _joined(list(dict.fromkeys(told)))]


def _joined(told: Sequence[str]) -> list[str]:
    """What begins alike is said once: `paused this run for 3 s at step 4 and for 2 s at step 9 (rate limit)`."""
    grouped: dict[str, list[str]] = {}
    for phrase in told:
        grouped.setdefault(_paused(phrase) or phrase, []).append(phrase)
    return [head + _several([each.removeprefix(head) for each in each_of]) for head, each_of in grouped.items()]


def _several(tails: Sequence[str]) -> str:
    """` for 3 s at step 4 and for 2 s at step 9`; with a comma where one of them has its own "and"."""
    *earlier, last = tails
    if not earlier:
        return last
    return f"{','.join(earlier)}{',' if any(' and ' in each or ',' in each for each in tails) else ''} and{last}"


def _paused(phrase: str) -> str:
    """The words with which a phrase tells of a pause of the run."""
    head = f"{phrase.partition(HELD_UP)[0]}{HELD_UP}"
    return head if phrase.startswith((HELD_UP, f"{SUBJECTS['service']} {HELD_UP}")) else ""


def estimated(rows: Sequence[FindingRow]) -> bool:
    """Is any of their costs no measurement?"""
    return any(is_estimate(row.cause, row.evidence["figures"]) for row in rows)


def is_pause(row: FindingRow) -> bool:
    """Was a queue held, by no doing of yours?"""
    return row.cause.endswith(PAUSE) and row.owner == "service"


def is_open(row: FindingRow) -> bool:
    """Did it not end, as far as is known?"""
    return row.evidence.get("ended_s") is None


def _told(rows: Sequence[FindingRow], live: bool) -> Iterator[tuple[str, str]]:
    for row in rows:
        same = [each for each in rows if is_pause(each) and _kind(each) == _kind(row)] if is_pause(row) else [row]
        if row is same[0]:
            yield row.owner, _pauses(same, live) if is_pause(row) else _phrase(row, live)


def _kind(row: FindingRow) -> tuple[str, str]:
    return row.cause, WHY.get(row.evidence["figures"].get("reason", ""), "")


def _pauses(pauses: Sequence[FindingRow], live: bool) -> str:
    held = [pause for pause in pauses if _held_the_run(pause)]
    if not held:
        return _beside(pauses)
    length = sum(pause.cost_s or 0.0 for pause in held)
    _, why = _kind(held[0])
    numbers = sorted({step for pause in held for step in pause.evidence["steps"]})
    where = f" {words.steps(numbers)}" if numbers else ""
    until = ", until it ended" if not live and any(is_open(pause) for pause in held) else ""
    return f"{HELD_UP}{_times(held)} for {words.about(length, estimate=estimated(held))}{where}{why}{until}"


def _held_the_run(pause: FindingRow) -> bool:
    """Was it the thread that takes the steps that waited for it, most of the time that any did?"""
    own = pause.evidence["figures"].get(OWN)
    return bool(pause.cost_s) and (own is None or 2 * own >= (pause.cost_s or 0.0))


def _beside(pauses: Sequence[FindingRow]) -> str:
    """Pauses that the run's own thread did not wait for: who did, if anybody."""
    _, why = _kind(pauses[0])
    length = sum(pause.evidence["figures"].get("length_s", 0.0) for pause in pauses)
    names = sorted({name for pause in pauses for name in pause.evidence["figures"].get(WAITED_BY, ())})
    requests = "a request" if len(pauses) == 1 else "requests"
    what = f"paused {requests}{_times(pauses)} for {words.about(length, estimate=estimated(pauses))}"
    if not names:
        return f"{what} that nobody waited for{why}"
    if not any(pause.cost_s for pause in pauses):
        return f"{what} that held nothing up{why}"
    who = words.listed([f"`{words.first_line(name, 40)}`" for name in names])
    if len(names) > NAMED:
        who = f"{len(names)} other threads"
    only = "" if any(pause.evidence["figures"].get(OWN) for pause in pauses) else "only "
    return f"{what} that {only}{'thread ' if len(names) == 1 else ''}{who} waited for{why}"


def _times(pauses: Sequence[FindingRow]) -> str:
    return f" {len(pauses)} times, together" if len(pauses) > 1 else ""


def _answered(figures: Mapping[str, Any]) -> str:
    answered = words.listed(sorted(figures.get("statuses", {})))
    return f"answered {words.count(figures.get('attempts', 0), 'attempt')} with {answered}"


def _phrase(row: FindingRow, live: bool) -> str:
    numbers, figures = row.evidence["steps"], row.evidence["figures"]
    goes_on = is_open(row)
    where = f" {words.steps(numbers, goes_on=goes_on)}" if numbers else ""
    if row.cause == "slow-service":
        return f"{'computes' if goes_on else 'computed'} {words.factor(figures['factor'])} slower{where}"
    if row.cause == "unreachable":
        lasted = words.seconds(figures["length_s"])
        if goes_on and live:
            return f"lets nothing through, for {lasted} now{where}"
        return f"let nothing through for {lasted}{where}{', until it ended' if goes_on else ''}"
    where = f" {words.steps(numbers)}" if numbers else ""
    if row.cause == "flaky-network":
        return f"broke {words.count(figures['broken'], 'connection')}{where}"
    if row.cause == "promise-expired":
        return f"forgot {words.count(figures['requests'], 'request')} that it had accepted{where}"
    if row.cause == "session-lost" and row.owner in SUBJECTS:
        kept = f"let no heartbeat through for {words.seconds(figures['silent_s'])}, and Tinker "
        return f"{kept if row.owner == 'network' else ''}ended the session{where}"
    if row.cause == "service-errors":
        return _errors(row, where)
    return row.summary.rstrip(".") + ("" if row.cause in OF_THE_RUN else where)


def _errors(row: FindingRow, where: str) -> str:
    figures, names = row.evidence["figures"], row.evidence["operations"]
    if not figures.get("failed"):
        return f"{_answered(figures)}{where}"
    failed = words.listed([f"`{name}`" for name in names[:2]])
    if row.owner == "none":
        return f"{failed} failed{where}, and the service did not say whose mistake it was"
    if not figures.get("attempts"):
        return f"failed {failed}{where}"
    calls = failed if len(names) == 1 else words.count(figures["failed"], "call")  # not all that are named failed
    return f"failed {calls} and {_answered(figures)}{where}"
