"""What the pages write besides the figures that all doors share: rates, times of day, round times on an axis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tinkertape.figures import THIN, UNKNOWN, seconds


def short(value: float) -> str:
    """A round time for an axis: `6 s`, `1 min`."""
    if 0.0995 <= value < 0.9995:
        return f"{value:g}{THIN}s"
    return seconds(value).replace(f".0{THIN}", THIN).replace(f" 0{THIN}s", "").replace(f" 0{THIN}min", "")


def tick(value: float) -> str:
    """A round number for an axis: `0.5`, `1 600`."""
    return f"{value:,g}".replace(",", THIN)


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


def loss_figure(loss: float | None) -> str:
    """A loss with two decimals, a very large one without."""
    return UNKNOWN if loss is None else f"{loss:,.{2 if abs(loss) < 10_000 else 0}f}".replace(",", THIN)


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
