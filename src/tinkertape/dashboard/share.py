"""The share bar: the whole run as one line, by owner, with a bracket over what was lost. Lengths are per cent of the
bar."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from tinkertape.dashboard.parts import OVER, look_of, with_over
from tinkertape.figures import THIN, percent, seconds

NARROW_PX, ROOMY_PX, LETTER_PX = 1000.0, 1290.0, 6.4  # bars of two widths, and a letter of their font: for what fits
NAMES = {
    "you": "your code and its calls",
    "network": "send and retrieve",
    "compute": "compute, as usual",
    "compute:behind": "behind another",
    "queue:rate_limit": "paused for rate",
    "queue:unknown": "paused",
    OVER: "above usual",
    "queue:capacity": "paused for capacity",
    "idle": "idle",
}
LOST = (OVER, "queue:rate_limit", "queue:unknown", "queue:capacity")


class Piece(msgspec.Struct, frozen=True):
    key: str
    name: str
    seconds: float
    share: float
    at: float
    width: float
    fill: str
    figure: str
    named: str = ""  # where its name fits: "always", "roomy" (on a wide screen) or nowhere


class Bracket(msgspec.Struct, frozen=True):
    at: float
    width: float
    text: str
    anchor: str
    text_at: float


class Bar(msgspec.Struct, frozen=True):
    pieces: list[Piece]
    lost: Bracket | None
    label: str


def share_bar(
    parts: dict[str, float], over_s: float, qualities: Mapping[str, str] | None = None, yours: Collection[str] = ()
) -> Bar:
    """Cut the run's parts into pieces: an owner's parts in one, the service's apart. One of the service's that is not
    measured by `qualities` carries ≈; a pause that is of `yours` was not lost to Tinker.
    """
    about = {part for part, quality in (qualities or {}).items() if quality != "measured"}
    amounts: dict[str, float] = {}
    for part, amount in with_over(parts, over_s).items():
        look = look_of(part)
        key = (
            look.owner
            if look.owner in ("you", "network")
            else look.part
            if look.part in NAMES
            else "queue:unknown"
            if part.startswith("queue:")
            else look.part
        )
        amounts[key] = amounts.get(key, 0.0) + amount
    wall = sum(amounts.values())
    if wall <= 0:
        return Bar([], None, "no time recorded yet")
    order = [key for key in NAMES if key in amounts] + [key for key in amounts if key not in NAMES]
    pieces, at = [], 0.0
    for key in order:
        width = 100 * amounts[key] / wall
        fill = {"you": "var(--part-your-code)", "network": "url(#send)"}.get(key) or look_of(key).fill
        figure = (f"≈{THIN}" if key == OVER or key in about else "") + seconds(amounts[key])
        pieces.append(
            Piece(
                key, NAMES.get(key, key), amounts[key], amounts[key] / wall, round(at, 3), round(width, 3), fill, figure
            )
        )
        at += width
    return Bar(
        _named(pieces),
        _bracket([piece for piece in pieces if piece.key not in yours]),
        "; ".join(f"{piece.name} {piece.figure}, {percent(piece.share)}" for piece in pieces),
    )


def _named(pieces: list[Piece]) -> list[Piece]:
    """The service's pieces get their name under the bar, the largest first, as far as the names do not touch."""
    always, roomy = _fitting(pieces, NARROW_PX), _fitting(pieces, ROOMY_PX)
    return [
        msgspec.structs.replace(
            piece, named="always" if piece.key in always & roomy else "roomy" if piece.key in roomy else ""
        )
        for piece in pieces
    ]


def _fitting(pieces: list[Piece], width_px: float) -> set[str]:
    taken: list[tuple[float, float]] = []
    chosen = set()
    for piece in sorted(pieces, key=lambda piece: -piece.seconds):
        begin = piece.at / 100 * width_px
        end = begin + (len(piece.name) + len(piece.figure) + 1) * LETTER_PX
        if piece.key in ("you", "network", "idle") or piece.width < 3 or end > width_px:
            continue
        if all(end <= other[0] or begin >= other[1] for other in taken):
            taken.append((begin, end))
            chosen.add(piece.key)
    return chosen


def _bracket(pieces: list[Piece]) -> Bracket | None:
    lost = [piece for piece in pieces if piece.key in LOST]
    amount, at, width = (
        sum(piece.seconds for piece in lost),
        min((piece.at for piece in lost), default=0.0),
        sum(piece.width for piece in lost),
    )
    if width < 1:
        return None
    mark = f"≈{THIN}" if any(piece.figure.startswith("≈") for piece in lost) else ""
    text = f"{mark}{seconds(amount)} lost to Tinker, {percent(sum(piece.share for piece in lost))} of the run"
    middle, half = at + width / 2, len(text) * LETTER_PX / 2 / NARROW_PX * 100
    anchor, text_at = ("end", 100.0) if middle + half > 100 else ("start", 0.0) if middle < half else ("middle", middle)
    return Bracket(round(at, 3), round(width, 3), text, anchor, round(text_at, 3))
