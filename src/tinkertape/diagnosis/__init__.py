"""Where the time went, what was wrong, and whose it is.

    records ← fold       events become operations, requests, polls, attempts, claims, sampled waits
    lines → segments     one request, one operation, cut into parts (facts/partition.md §2, §3)
    instants             whose each instant of a thread is (§4, §5)
    partition → windows  a stretch of your wall time, cut into parts that add up to it exactly (§5)
    steps                the stretches: steps, and what lies around them
    detectors ← runner   a file a cause; findings
    waited               who waited for it, in any thread: what a finding cost
    view → compose       the report: verdict, owners, parts, steps, tables
    diagnoser, watcher   the fold for a tape, and for a live bus

Invariants: events are all it reads, and no clock; times are integer nanoseconds of one process's clock until they are
shown; the parts of a stretch sum to its wall time exactly; a figure that is not measured says so, with bounds.
"""

from __future__ import annotations

from tinkertape.diagnosis.diagnoser import Diagnoser as Diagnoser
from tinkertape.diagnosis.diagnoser import Diagnosis as Diagnosis
from tinkertape.diagnosis.diagnoser import diagnose as diagnose
from tinkertape.diagnosis.findings import Evidence as Evidence
from tinkertape.diagnosis.findings import Finding as Finding
from tinkertape.diagnosis.report import Report as Report
from tinkertape.diagnosis.report import as_dict as as_dict
from tinkertape.diagnosis.runner import causes as causes
from tinkertape.diagnosis.watcher import Watcher as Watcher
from tinkertape.diagnosis.watcher import watch as watch
