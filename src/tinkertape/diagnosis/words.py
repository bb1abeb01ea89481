"""Numbers and names in sentences: three figures at most, narrow no-break spaces before units and between thousands."""

from __future__ import annotations

from collections.abc import Sequence

THIN = "\u202f"


def seconds(value: float | None) -> str:
    """A duration: `6.6 ms`, `84 ms`, `0.27 s`, `47.0 s`, `2 min 21 s`, `1 h 4 min`; unknown is `–`, zero `0`."""
    if value is None:
        return "–"
    if value <= 0:
        return "0"
    if value < 0.0995:
        return f"{value * 1000:.{1 if value < 0.00995 else 0}f}{THIN}ms"
    if value < 0.9995:
        return f"{value:.2f}{THIN}s"
    if value < 99.5:
        return f"{value:.1f}{THIN}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def between(low: float, high: float) -> str:
    """`2.0 to 2.3 s`: bounds as they read, or nothing where they read alike."""
    left, right = seconds(low), seconds(high)
    if left == right:
        return ""
    unit = THIN + right.rpartition(THIN)[2]
    return f"{left.removesuffix(unit) if ' ' not in right else left} to {right}"


def about(value: float | None, *, estimate: bool) -> str:
    """A duration, with ≈ where it is an estimate."""
    return f"{f'≈{THIN}' if estimate and value else ''}{seconds(value)}"


def percent(share: float) -> str:
    """A share of 1: `33 %`, `< 1 %`."""
    return f"<{THIN}1{THIN}%" if 0 < share < 0.01 else f"{round(share * 100)}{THIN}%"


def factor(value: float) -> str:
    """`1.7×`."""
    return f"{value:.1f}×"


def thousands(number: int) -> str:
    """`2 418`, with narrow spaces."""
    return f"{number:,}".replace(",", THIN)


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 step`, `12 steps`, `2 418 events`."""
    return f"{thousands(number)} {noun if number == 1 else plural or noun + 's'}"


def steps(numbers: Sequence[int], *, goes_on: bool = False) -> str:
    """`step 12`, `steps 20 to 25`, `steps 3, 7 and 9`; what goes on is `since step 20`."""
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    if goes_on:
        return f"since step {low}"
    if low == high:
        return f"at step {low}"
    if len(numbers) == 2 or (len(numbers) <= 3 and high - low >= len(numbers)):
        return "at steps " + ", ".join(str(n) for n in numbers[:-1]) + f" and {numbers[-1]}"
    return f"in steps {low} to {high}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" and {items[-1]}" if items else ""


def first_line(text: str, most: int = 120) -> str:
    """The first line of a message, without what the SDK wraps around the service's words, cut at `most` characters."""
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    line = line.removeprefix("Request failed: ").partition(" for self.request_id=")[0]
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
