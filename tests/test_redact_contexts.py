"""Secrets where programs have them: keys of many services, headers, URLs, source lines, configuration, escaped JSON.

`tests/data/redaction_contexts.json` has patterns, of which a test makes a secret: `«…»` is what must go, `{A32}` stands
for 32 letters and digits (`H`: hexadecimal, `U`: upper case, `L`: lower case, `B`: base64, `D`: digits).
"""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinkertape.redact import MARK, redact

PATTERNS: dict[str, list[Any]] = json.loads(
    (Path(__file__).parent / "data" / "redaction_contexts.json").read_text(encoding="utf-8")
)
CHARACTERS = {
    "A": string.ascii_letters + string.digits,
    "B": string.ascii_letters + string.digits + "+/",
    "D": string.digits,
    "H": "0123456789abcdef",
    "L": string.ascii_lowercase + string.digits,
    "U": string.ascii_uppercase + "234567",
}


def filled(pattern: str, chance: random.Random) -> str:
    """The pattern with characters by chance, among them a digit and a letter of each case that there is."""

    def characters(match: re.Match[str]) -> str:
        kind, length = match[1], int(match[2])
        firsts = [next(filter(test, CHARACTERS[kind]), "") for test in (str.isdigit, str.islower, str.isupper)]
        first = "".join(firsts)[:length]
        return first + "".join(chance.choices(CHARACTERS[kind], k=length - len(first)))

    return re.sub(r"\{([ABDHLU])(\d+)\}", characters, pattern)


def mapped(data: Any, change: Callable[[str], str]) -> Any:
    if isinstance(data, str):
        return change(data)
    if isinstance(data, dict):
        return {change(key): mapped(value, change) for key, value in data.items()}
    return [mapped(value, change) for value in data] if isinstance(data, list) else data


@pytest.mark.parametrize("pattern", PATTERNS["secrets"], ids=lambda pattern: json.dumps(pattern)[:80])
def test_a_secret_goes_wherever_a_program_has_it(pattern: Any) -> None:
    chance = random.Random(json.dumps(pattern))
    secrets: list[str] = []

    def told(text: str) -> str:
        text = filled(text, chance)
        secrets.extend(re.findall("«(.*?)»", text, re.DOTALL))
        return re.sub("[«»]", "", text)

    redacted = redact(mapped(pattern, told))
    shown = json.dumps(redacted, ensure_ascii=False)

    [secret] = secrets
    longest = max(re.findall("[A-Za-z0-9]+", secret), key=len)
    assert longest[-6:] not in shown
    assert MARK in shown
    assert redact(redacted) == redacted


@pytest.mark.parametrize("pattern", PATTERNS["look_alikes"], ids=lambda pattern: json.dumps(pattern)[:80])
def test_what_only_looks_like_it_stays(pattern: Any) -> None:
    chance = random.Random(json.dumps(pattern))
    data = mapped(pattern, lambda text: filled(text, chance))

    assert redact(data) == data
