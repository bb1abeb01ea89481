"""Figures and names in sentences; `seconds`, `percent` and `between` are those of `tinkertape.figures`."""

from __future__ import annotations

from collections.abc import Sequence

from tinkertape.figures import THIN as THIN
from tinkertape.figures import between as between
from tinkertape.figures import count as thousands
from tinkertape.figures import marked
from tinkertape.figures import percent as percent
from tinkertape.figures import seconds as seconds


def about(value: float | None, *, estimate: bool) -> str:
    """A duration, with ≈ where it is an estimate."""
    return marked(seconds(value), "inferred" if estimate and value else "measured")


def share_as_known(share: float, quality: str, least: float, most: float) -> str:
    """A share of 1 in a sentence, as it is known: `39 %`, `about 39 %`, `at most 39 %`, `27 to 39 %`.

    Bounds that lie within a tenth of it are not worth the words.
    """
    if quality == "inferred":
        return f"about {percent(share)}"
    far_below, far_above = least < 0.9 * share, most > 1.1 * share
    if quality != "bounded" or not (far_below or far_above):
        return percent(share)
    if far_below and far_above:
        return f"{percent(least)} to {percent(most)}"
    return f"at most {percent(most)}" if far_below else f"at least {percent(least)}"


def factor(value: float) -> str:
    """`1.7×`."""
    return f"{value:.1f}×"


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


def quoted(message: str) -> str:
    """A message inside a sentence of ours: in quotation marks where it has backticks, for ours mean code; without them
    it needs none.
    """
    if "`" not in message:
        return message
    inside = message.replace("“", '"').replace("”", '"')
    return f"“{inside}”"


def first_line(text: str, most: int = 120) -> str:
    """The first line of a message, without what the SDK wraps around the service's words, cut at `most` characters."""
    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    line = line.removeprefix("Request failed: ").partition(" for self.request_id=")[0]
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
