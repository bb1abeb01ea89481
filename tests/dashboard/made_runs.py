"""Reports made by arithmetic, as a diagnosis would give them: every part sums to its whole. Test data."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.dashboard.made_answers import findings_of, verdict_of

from tinkertape.collector.run_row import row_of

BEGAN = datetime(2026, 11, 24, 2, 4, 11, tzinfo=UTC)
ORDER = (
    "call",
    "serialise",
    "wait_local",
    "send",
    "queue:rate_limit",
    "queue:capacity",
    "compute:behind",
    "compute",
    "retrieve",
    "deliver",
)
OWNER = {
    "call": "you",
    "serialise": "you",
    "wait_local": "you",
    "deliver": "you",
    "your_code": "you",
    "send": "network",
    "retrieve": "network",
    "idle": "idle",
}
TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 41, in main
    client.forward_backward(batch, "cross_entropy").result()
tinker.RequestFailedError: request failed (user): datum 3 too long"""
CHECKED = [
    "flaky-network",
    "gil-stall",
    "loop-blocked",
    "memory-growth",
    "not-pipelined",
    "rate-limit-pause",
    "service-errors",
    "slow-data",
    "slow-network",
    "stuck-request",
]


class _Run:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.spans: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.request = 0

    def near(self, middle: float, spread: float) -> float:
        return middle * (1 + (self.random.random() + self.random.random() + self.random.random() - 1.5) * spread)

    def small(self, compute: float, data: float = 1.0) -> dict[str, float]:
        return {
            "call": self.near(0.004, 0.4),
            "serialise": self.near(0.034 * data + 0.003, 0.4),
            "wait_local": self.near(0.007, 0.5),
            "send": self.near(0.026 + 0.03 * data, 0.4),
            "compute": compute,
            "retrieve": self.near(0.032 + 0.014 * data, 0.4),
            "deliver": self.near(0.007, 0.5),
        }

    def call(
        self,
        name: str,
        at: float,
        parts: dict[str, float],
        step: int | None,
        *,
        error: str | None = None,
        open_: bool = False,
    ) -> dict[str, Any]:
        began, segments = at, []
        for part in ORDER:
            if parts.get(part):
                segments.append([part, at, at + parts[part]])
                at += parts[part]
        self.request += 1
        span = {
            "operation_id": self.request,
            "operation": name,
            "process": "a1b2c3d4e5f60718",
            "began_s": began,
            "ended_s": None if open_ else at,
            "open": open_,
            "step": step,
            "error": error,
            "request_ids": [f"9c41e2:{self.request}"],
            "segments": segments,
            "_to": at,
            "_parts": parts,
        }
        self.spans.append(span)
        return span


def made_run(
    name: str = "haiku-lora",
    run: str = "01KASW3T4V9Q2M7R8X5Y6Z0ABC",
    *,
    seed: int = 7,
    steps: int = 30,
    pause_at: int = 0,
    pause_s: float = 47.0,
    slow_from: int = 0,
    error_at: int = 0,
    rate_at: int = 0,
    live: bool = False,
    inferred: bool = False,
    began: datetime = BEGAN,
    loss: bool = True,
) -> dict[str, Any]:
    """A report. `pause_at`, `slow_from`, `error_at`, `rate_at` are steps; `live` leaves the last step open."""
    made = _Run(seed)
    t = made.call("create_session", 0.0, made.small(made.near(0.12, 0.2), 0), None)["_to"]
    t = made.call("create_lora_training_client", t, made.small(made.near(1.62, 0.1), 0), None)["_to"]
    total: dict[str, float] = {}

    def add(parts: dict[str, float], into: dict[str, float]) -> None:
        for part, amount in parts.items():
            into[part] = into.get(part, 0.0) + amount

    for span in made.spans:
        add(span["_parts"], total)
    for step in range(1, steps + 1):
        t = _step(
            made,
            t,
            step,
            add,
            steps=steps,
            pause_at=pause_at,
            pause_s=pause_s,
            slow_from=slow_from,
            error_at=error_at,
            rate_at=rate_at,
            live=live,
            inferred=inferred,
            loss=loss,
        )
    for step in made.steps:
        add(step["parts"], total)
    if not live and steps:
        last = max(
            (made.call("sample", t + 0.02 * i, made.small(made.near(1.35, 0.25), 0), None) for i in range(4)),
            key=lambda span: span["_to"],
        )
        add(last["_parts"], total)
        total["your_code"] = total.get("your_code", 0.0) + last["began_s"] - t
        t = last["_to"]
    return _report(
        made, name, run, t, total, live=live, began=began, slow_from=slow_from, pause_at=pause_at, error_at=error_at
    )


def _step(
    made: _Run,
    t: float,
    step: int,
    add: Any,
    *,
    steps: int,
    pause_at: int,
    pause_s: float,
    slow_from: int,
    error_at: int,
    rate_at: int,
    live: bool,
    inferred: bool,
    loss: bool,
) -> float:
    began, parts, over = t, {"your_code": 0.0, "idle": 0.0}, 0.0
    gap, slow, last = made.near(0.27, 0.25), bool(slow_from and step >= slow_from), live and step == steps
    parts["your_code"] += gap
    t += gap
    if step == error_at:
        p = {
            "call": 0.004,
            "serialise": 0.041,
            "wait_local": 0.006,
            "send": 0.072,
            "compute": 0.19,
            "retrieve": 0.018,
            "deliver": 0.006,
        }
        t = made.call("forward_backward", t, p, step, error="RequestFailedError")["_to"]
        add(p, parts)
    else:
        normal = made.near(1.47, 0.14)
        p = made.small(normal * made.near(1.9, 0.12) if slow else normal)
        over += max(0.0, p["compute"] - 1.47) if slow else 0.0
        if step == pause_at:
            p["queue:capacity"] = pause_s
        if step == rate_at:
            p["queue:rate_limit"] = 0.8
        if last:
            p |= {"compute": 0.9, "retrieve": 0.0, "deliver": 0.0}
        fb = made.call("forward_backward", t, p, step, open_=last)
        add(p, parts)
        behind_from, t = fb["began_s"] + p["call"] + p["serialise"] + 0.01, fb["_to"]
        if not last:
            tail = made.near(0.36, 0.12) * (1.6 if slow else 1)
            over += max(0.0, tail - 0.36) if slow else 0.0
            back = {"compute": tail, "retrieve": made.near(0.03, 0.3), "deliver": made.near(0.006, 0.3)}
            t = made.call("optim_step", behind_from, {"compute:behind": t - behind_from, **back}, step)["_to"]
            add(back, parts)
    if step % 10 == 0 and not last:
        p = made.small(made.near(1.25, 0.1), 0)
        t = made.call("save_state", t, p, step)["_to"]
        add(p, parts)
    idle = 0.0 if last else made.near(0.045, 0.5)
    parts["idle"] += idle
    t += idle
    value = 2.04 + 1.86 * 2.718281828 ** (-(step - 1) / 9.5) + (made.random.random() - 0.5) * 0.09
    made.steps.append(
        {
            "step": step,
            "began_s": began,
            "ended_s": None if last else t,
            "wall_s": t - began,
            "parts": parts,
            "over_s": over,
            "failed": step == error_at,
            "open": last,
            "inferred": inferred,
            "loss": value if loss and step != error_at and not last else None,
            "coverage": 1 - parts["idle"] / (t - began),
        }
    )
    return t


def _report(
    made: _Run,
    name: str,
    run: str,
    wall: float,
    total: dict[str, float],
    *,
    live: bool,
    began: datetime,
    slow_from: int,
    pause_at: int,
    error_at: int,
) -> dict[str, Any]:
    total.pop("compute:behind", None)
    total["your_code"] = total.get("your_code", 0.0) + wall - sum(total.values())
    over = sum(step["over_s"] for step in made.steps)
    lost = over + total.get("queue:capacity", 0.0)
    quality = {
        "compute": "bounded",
        "queue:capacity": "bounded",
        "queue:rate_limit": "bounded",
        "wait_local": "inferred",
    }
    parts = [
        {
            "part": part,
            "owner": OWNER.get(part, "service"),
            "seconds": amount,
            "share": amount / wall,
            "quality": quality.get(part, "measured"),
            "min_s": amount * 0.97 if part in quality else None,
            "max_s": amount if part in quality else None,
            "method": "the gaps of the turn" if part == "wait_local" else "",
        }
        for part, amount in total.items()
    ]
    by = {
        owner: sum(part["seconds"] for part in parts if part["owner"] == owner)
        for owner in ("you", "network", "service", "idle")
    }
    pauses = [
        {
            "began_s": seg[1],
            "ended_s": seg[2],
            "length_s": seg[2] - seg[1],
            "min_s": seg[2] - seg[1] - 0.6,
            "max_s": seg[2] - seg[1] + 0.6,
            "reason": seg[0][6:],
            "text": "out of capacity",
            "operation": span["operation"],
            "request_id": span["request_ids"][0],
            "step": span["step"],
        }
        for span in made.spans
        for seg in span["segments"]
        if seg[0].startswith("queue")
    ]
    errors = [
        {
            "owner": "you",
            "type": "RequestFailedError",
            "message": "Datum 3 is too long: 33 012 tokens, limit 32 768.",
            "status_code": 400,
            "category": "user",
            "operation": span["operation"],
            "count": 1,
            "first_s": span["_to"],
            "last_s": span["_to"],
            "request_ids": span["request_ids"],
            "step": span["step"],
            "traceback": TRACEBACK,
        }
        for span in made.spans
        if span["error"]
    ]
    sick = bool(pause_at or slow_from or error_at)
    report = {
        "run": run,
        "name": name,
        "project": "default",
        "state": "running" if live else "ended",
        "status": "" if live else "success",
        "began": _iso(began),
        "ended": None if live else _iso(began + timedelta(seconds=wall)),
        "wall_s": wall,
        "model": "Qwen/Qwen3-8B",
        "sdk_version": "0.38.0",
        "python": "3.11.2",
        "processes": 1,
        "sessions": ["5f0e7b52-9c41"],
        "events": 2418,
        "parts": parts,
        "lost_s": over + total.get("queue:capacity", 0.0),
        "over_s": over,
        "steps": made.steps,
        "steps_completed": sum(not step["open"] for step in made.steps),
        "usual_step_s": sorted(step["wall_s"] for step in made.steps)[len(made.steps) // 3] if made.steps else None,
        "operations": _operations(made.spans),
        "pauses": pauses,
        "errors": errors,
        "retries": [],
        "checked": CHECKED,
        "loss": [[step["step"], step["loss"]] for step in made.steps if step["loss"] is not None],
        "spans": [{key: value for key, value in span.items() if not key.startswith("_")} for span in made.spans],
        "ledger": {"recorded": 2418, "stored": 2418, "pending": 0, "rejected": 0, "dropped": {}},
        "findings": findings_of(made, wall, over, pause_at, slow_from, error_at),
        "verdict": verdict_of(made, total, wall, over, pause_at, slow_from, live, sick),
        "owners": [
            {
                "owner": "you",
                "seconds": by["you"],
                "share": by["you"] / wall,
                "role": "not" if sick else "usual",
                "say": "1 user error, 0.7 s" if error_at else "no error",
            },
            {
                "owner": "network",
                "seconds": by["network"],
                "share": by["network"] / wall,
                "role": "not" if sick else "usual",
                "say": "send p95 72 ms, 0 retries",
            },
            {
                "owner": "service",
                "seconds": by["service"],
                "share": by["service"] / wall,
                "role": "cause" if sick else "usual",
                "say": f"{by['service'] - lost:.1f} s is usual, ≈ {lost:.1f} s is not"
                if sick
                else "no pause, all of it compute",
            },
            {
                "owner": "idle",
                "seconds": by["idle"],
                "share": by["idle"] / wall,
                "role": "none",
                "say": "Nothing in flight",
            },
        ],
    }
    return report


def _operations(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(span["operation"] for span in spans):
        mine = [span for span in spans if span["operation"] == name]
        lengths = sorted(span["_to"] - span["began_s"] for span in mine if not span["open"] and not span["error"])
        family = {"create_session": "service", "create_lora_training_client": "service", "sample": "sampling"}.get(
            name, "training"
        )
        found.append(
            {
                "operation": name,
                "family": family,
                "count": len(mine),
                "errors": sum(bool(span["error"]) for span in mine),
                "open": sum(span["open"] for span in mine),
                "p50_s": lengths[len(lengths) // 2] if lengths else None,
                "p95_s": lengths[int((len(lengths) - 1) * 0.95)] if lengths else None,
                "max_s": lengths[-1] if lengths else None,
                "retries": 0,
                "polls": 3 * len(mine),
                "calls": [
                    [span["began_s"], span["_to"] - span["began_s"], 0 if span["error"] else 1, span["step"]]
                    for span in mine
                    if not span["open"]
                ],
            }
        )
    return found


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def made_events(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The tape's lines of a report, oldest first."""
    began = datetime.fromisoformat(report["began"])
    lines: list[tuple[float, str, str, dict[str, Any], dict[str, Any]]] = []
    for span in report["spans"]:
        base = f"tinker.{'sampling' if span['operation'] == 'sample' else 'training'}.{span['operation']}"
        known = {"operation": span["operation"], "request_id": span["request_ids"][0]}
        lines.append((span["began_s"], "INFO", f"{base}.start", {}, {"step": span["step"]}))
        for part, start, end in span["segments"]:
            if part == "send":
                lines.append(
                    (
                        end,
                        "INFO",
                        "tinker.http.request.stop",
                        {"duration": int((end - start) * 1e9), "headers_duration": 1},
                        {
                            "method": "POST",
                            "path": f"/api/v1/{span['operation']}",
                            "status": "success",
                            "status_code": 200,
                            "request_id": known["request_id"],
                        },
                    )
                )
            if part.startswith("queue:"):
                lines.append(
                    (
                        start,
                        "WARNING",
                        "tinker.queue.pause",
                        {},
                        {"reason": part[6:], "request_id": known["request_id"]},
                    )
                )
                lines.append(
                    (
                        end,
                        "WARNING",
                        "tinker.queue.resume",
                        {"duration": int((end - start) * 1e9)},
                        {"reason": part[6:], "request_id": known["request_id"]},
                    )
                )
        if span["error"]:
            lines.append(
                (
                    span["ended_s"],
                    "ERROR",
                    f"{base}.exception",
                    {"duration": 1},
                    {"error_type": span["error"], "status_code": 400, "status": "error"},
                )
            )
        elif span["ended_s"] is not None:
            lines.append(
                (
                    span["ended_s"],
                    "INFO",
                    f"{base}.stop",
                    {"duration": int((span["ended_s"] - span["began_s"]) * 1e9)},
                    {"status": "success", "request_id": known["request_id"]},
                )
            )
    return [
        {
            "event": "GENERIC_EVENT",
            "event_id": "",
            "event_session_index": index,
            "process": "a1b2c3d4e5f60718",
            "severity": severity,
            "timestamp": _iso(began + timedelta(seconds=at)),
            "event_name": name,
            "measurements": measured,
            "metadata": context,
        }
        for index, (at, severity, name, measured, context) in enumerate(sorted(lines, key=lambda line: line[0]))
    ]


def made_row(report: dict[str, Any]) -> dict[str, Any]:
    """A report's line in the list of runs, as the collector makes it."""
    ended = datetime.fromisoformat(report["began"]) + timedelta(seconds=report["wall_s"])
    return row_of({"project": "default", **report}, round(ended.timestamp() * 1e9))
