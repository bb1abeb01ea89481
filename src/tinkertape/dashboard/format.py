"""Numbers as the pages write them; `static/js/format.js` writes the same (a test compares the two).

Three significant figures at most; a narrow no-break space before a unit and between thousands; zero is `0`, unknown
`–`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

THIN = "\u202f"
UNKNOWN = "–"
MARKS = {"inferred": f"≈{THIN}", "bounded": f"≤{THIN}"}


def seconds(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if value < 0.00005:
        return "0"
    if value < 0.0995:
        return f"{value * 1000:.{1 if value < 0.00995 else 0}f}{THIN}ms"
    if value < 0.9995:
        return f"{value:.2f}{THIN}s"
    if value < 99.5:
        return f"{value:.1f}{THIN}s"
    whole = int(value + 0.5)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def short(value: float) -> str:
    """A round time for an axis: `6 s`, `1 min`."""
    if 0.0995 <= value < 0.9995:
        return f"{value:g}{THIN}s"
    return seconds(value).replace(f".0{THIN}", THIN).replace(f" 0{THIN}s", "").replace(f" 0{THIN}min", "")


def percent(share: float | None) -> str:
    if share is None:
        return UNKNOWN
    return f"<{THIN}1{THIN}%" if 0 < share < 0.01 else f"{int(share * 100 + 0.5)}{THIN}%"


def times(factor: float | None) -> str:
    return UNKNOWN if factor is None else f"{factor:.1f}×"


def count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}".replace(",", THIN)


def rate(steps: int, wall_s: float | None) -> str:
    """Steps a second with two digits, or a minute, or an hour where that reads better."""
    if not wall_s or wall_s <= 0:
        return UNKNOWN
    if not steps:
        return "0"
    value, unit = next(
        ((steps / wall_s * size, unit) for size, unit in ((1, "s"), (60, "min")) if steps / wall_s * size >= 0.1),
        (steps / wall_s * 3600, "h"),
    )
    return f"{value:.{0 if value >= 9.95 else 1 if value >= 0.995 else 2}f} steps/{unit}"


def value(loss: float | None) -> str:
    return UNKNOWN if loss is None else f"{loss:.2f}"


def marked(amount: str, quality: str) -> str:
    """The figure with its quality: ≈ inferred, ≤ bounded."""
    return f"{MARKS.get(quality, '')}{amount}"


def between(least: float | None, most: float | None) -> str:
    """The bounds of a figure: `1.2 to 1.5 s`, or nothing when there are none."""
    if least is None or most is None:
        return ""
    left, right = seconds(least), seconds(most)
    unit = THIN + right.rpartition(THIN)[2]
    return f"{left.removesuffix(unit) if ' ' not in right else left} to {right}"


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time, or None for anything else."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def after(began: datetime | None, offset_s: float | None) -> datetime | None:
    return None if began is None or offset_s is None else began + timedelta(seconds=offset_s)


def clock(time: datetime | None, form: str = "clock") -> str:
    """A time in UTC: `clock` 02:04:11, `ms` 02:04:11.123, `day` 24 Nov, 02:04:11."""
    if time is None:
        return UNKNOWN
    time = time.astimezone(UTC)
    text = f"{time:%H:%M:%S}"
    if form == "ms":
        return f"{text}.{time.microsecond // 1000:03d}"
    return f"{time.day} {time:%b}, {text}" if form == "day" else text
