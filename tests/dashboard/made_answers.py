"""What a diagnosis would say of a made run: findings and verdict. Test data."""

from __future__ import annotations

from typing import Any


def findings_of(
    made: Any, wall: float, over: float, pause_at: int, slow_from: int, error_at: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def finding(
        cause: str,
        owner: str,
        cost: float,
        summary: str,
        advice: str,
        steps: list[int],
        requests: list[str],
        **more: Any,
    ) -> None:
        found.append(
            {
                "cause": cause,
                "owner": owner,
                "severity": "warning",
                "confidence": 1.0,
                "summary": summary,
                "cost_s": cost,
                "share": cost / wall,
                "evidence": {"began_s": None, "ended_s": None, "steps": steps, "request_ids": requests, "figures": {}}
                | more,
                "advice": advice,
            }
        )

    if pause_at:
        span, seg = next((span, seg) for span in made.spans for seg in span["segments"] if seg[0] == "queue:capacity")
        finding(
            "capacity-pause",
            "service",
            seg[2] - seg[1],
            "The service kept forward_backward queued: out of capacity.",
            "Nothing to change; the run goes on by itself.",
            [pause_at],
            span["request_ids"],
            began_s=seg[1],
            ended_s=seg[2],
            figures={"min_s": 46.4, "max_s": 47.6},
        )
    if slow_from:
        finding(
            "slow-service",
            "service",
            over,
            "Compute of forward_backward rose from 1.5 s to 2.6 s at the same batch size.",
            "Nothing to change in your code.",
            list(range(slow_from, len(made.steps) + 1)),
            [],
            figures={"factor": 1.72},
        )
    if error_at:
        span = next(span for span in made.spans if span["error"])
        finding(
            "user-error",
            "you",
            0.7,
            "One datum of 33 012 tokens; the model takes 32 768.",
            "Truncate before train.py:41.",
            [error_at],
            span["request_ids"],
        )
    return found


def verdict_of(
    made: Any, total: dict[str, float], wall: float, over: float, pause_at: int, slow_from: int, live: bool, sick: bool
) -> dict[str, Any]:
    done = [step for step in made.steps if not step["open"]]
    if pause_at or slow_from:
        words = []
        if pause_at:
            words.append(f"paused this run for {total['queue:capacity']:.0f}\u202fs at step {pause_at}")
        if slow_from:
            words.append(f"computes 1.7× slower since step {slow_from}")
        return {
            "owner": "service",
            "lead": "It is Tinker.",
            "sentence": f"It {', and '.join(words)}.",
            "under": "Nothing to change in your code. The pause ended by itself and all steps are done.",
        }
    if not done:
        return {"owner": "none", "lead": "", "sentence": "Too early to say: no step seen yet.", "under": ""}
    mean = sum(step["wall_s"] for step in done) / len(done)
    computing = 100 * total["compute"] / wall
    return {
        "owner": "none",
        "lead": "Healthy, as far as this run shows:",
        "well": True,
        "sentence": f"{len(done)} steps of about {mean:.1f}\u202fs each, as usual; nothing waits on you.",
        "under": f"{computing:.0f}\u202f% of the time is Tinker computing, normal for Qwen3-8B at this batch size.",
    }
