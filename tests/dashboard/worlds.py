"""Whole sources for the tests: one of each kind of run, and a list of many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.dashboard.fake_source import FakeSource, healthy_live, sick
from tests.dashboard.made_runs import made_run

HOSTILE = (
    '<script>window.ran = 1; alert(1)</script><img src=x onerror="window.ran = 2">'
    "\u202eevil\x00\x07\x1b[31m</title></script>{{7*7}}\ud800 'quoted\" & `code " + "long" * 60
)


def hostile(value: Any, key: str = "") -> Any:
    """The same data with every text replaced, but for what must be one of a few words."""
    if isinstance(value, dict):
        return {name: hostile(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, key) for item in value]
    kept = ("state", "began", "ended", "run", "quality", "role", "timestamp", "last_event", "severity")
    return HOSTILE if isinstance(value, str) and key not in kept else value


def hostile_run() -> dict[str, Any]:
    report = hostile(made_run(run="hostile", steps=12, pause_at=4, error_at=7, slow_from=9))
    report["steps"][3]["step"] = HOSTILE
    report["steps"][3]["parts"][HOSTILE] = 0.5
    report["parts"].append(
        {"part": HOSTILE, "owner": HOSTILE, "seconds": 0.5, "share": 0.01, "quality": HOSTILE, "method": HOSTILE}
    )
    report["retries"] = [
        {"at_s": 5.0, "operation": HOSTILE, "layer": HOSTILE, "attempt": 1, "delay_s": 0.5, "error_type": HOSTILE}
    ]
    report["loss"] = [[step, float("nan") if step == 5 else value] for step, value in report["loss"]]
    report["ledger"] = {"recorded": 2418, "stored": 2400, "pending": 0, "rejected": 0, "dropped": {HOSTILE: 18}}
    return report


def paused() -> dict[str, Any]:
    report = made_run(
        "sft-legal", "paused", seed=3, steps=14, live=True, began=datetime.now(UTC) - timedelta(seconds=80)
    )
    span = report["spans"][-1]
    start = span["segments"][-1][2]
    span["segments"].append(["queue:capacity", start, start + 47])
    report["wall_s"] += 47
    report["parts"].append(
        {
            "part": "queue:capacity",
            "owner": "service",
            "seconds": 47.0,
            "share": 0.5,
            "quality": "bounded",
            "min_s": 46.0,
            "max_s": 47.5,
        }
    )
    report["steps"][-1]["parts"]["queue:capacity"] = 47.0
    report["steps"][-1]["wall_s"] += 47
    report["pauses"] = [
        {
            "began_s": start,
            "ended_s": None,
            "length_s": 47.0,
            "min_s": 46.0,
            "max_s": 47.5,
            "reason": "capacity",
            "text": "out of capacity",
            "operation": "forward_backward",
            "request_id": "9c41e2:31",
            "step": 14,
        }
    ]
    report["verdict"] = {
        "owner": "service",
        "lead": "Waiting for Tinker",
        "sentence": "for 47\u202fs: paused for capacity since 02:04:39.",
        "under": "The service says: “out of capacity”. Nothing to do; the run goes on by itself.",
    }
    report["state"] = "paused"
    return report


def failed() -> dict[str, Any]:
    report = made_run("first-try", "failed", seed=5, steps=6, error_at=6, loss=False, inferred=True)
    report.update(
        state="failed",
        status="error",
        retries=[
            {
                "at_s": 4.0 + i,
                "operation": "forward_backward",
                "layer": "http",
                "attempt": i,
                "delay_s": 0.5,
                "error_type": "APIConnectionError",
            }
            for i in range(3)
        ],
    )
    report["verdict"] = {
        "owner": "you",
        "lead": "Failed by your code.",
        "sentence": 'KeyError: "labels" at data.py:88, step 6.',
        "under": "Until then nothing was found wrong with Tinker or the network.",
    }
    return report


def empty_run() -> dict[str, Any]:
    return {
        "run": "early",
        "name": "just-begun",
        "state": "running",
        "began": datetime.now(UTC).isoformat(),
        "wall_s": 0.4,
        "events": 3,
        "findings": [],
        "sessions": [],
        "status": "",
        "ended": None,
        "model": "",
        "parts": [],
        "steps": [],
        "over_s": 0,
        "spans": [],
        "ledger": {"recorded": 3, "stored": 3, "pending": 0, "rejected": 0, "dropped": {}},
        "verdict": {
            "owner": "none",
            "lead": "",
            "sentence": "Too early to say: no step seen yet.",
            "under": "The first answer comes after 5 steps or 30 s.",
        },
    }


def long_run() -> dict[str, Any]:
    report = made_run("rl-gsm8k", "long", seed=9, steps=1200, pause_at=400, slow_from=900, error_at=77)
    report["state"], report["status"], report["ended"] = "killed", "", None
    report["ledger"] = {
        "recorded": 90_412,
        "stored": 90_012,
        "pending": 393,
        "rejected": 0,
        "dropped": {"memory full": 7},
    }
    return report


def world() -> FakeSource:
    return FakeSource([sick(), healthy_live(), paused(), failed(), hostile_run(), empty_run(), long_run()])


def many_runs() -> FakeSource:
    now = datetime.now(UTC)
    runs = [
        made_run("rl-gsm8k", "01KASW9QQ2E", seed=4, steps=30, live=True, began=now - timedelta(seconds=75)),
        healthy_live(),
        paused(),
        failed(),
    ]
    for at, (name, more) in enumerate(
        [
            ("haiku-lora", {"pause_at": 12, "slow_from": 20, "error_at": 7, "rate_at": 23}),
            ("haiku-base", {}),
            ("pref-dpo", {"slow_from": 12}),
            ("rl-gsm8k", {}),
            ("sft-legal", {"error_at": 5}),
            ("hotel-wifi", {}),
            ("async-off", {"pause_at": 3}),
        ]
    ):
        runs.append(made_run(name, f"01KASR{at}M9QD", seed=at + 30, began=now - timedelta(hours=1 + 5 * at), **more))
    runs[6]["state"] = "killed"
    return FakeSource(runs)
