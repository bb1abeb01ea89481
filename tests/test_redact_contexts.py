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

from tinkertape.redact import MARK, redact, redact_text

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


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("os.environ['API_KEY'] = 'k7Q2x9Zw'", f"os.environ['API_KEY'] = '{MARK}'"),
        ("C(password=Box('k7Q2x9Zw'), n=5)", f"C(password=Box('{MARK}'), n=5)"),
        ("password: str = 'k7Q2x9Zw'  # x", f"password: str = '{MARK}'  # x"),
        (
            "{&quot;password&quot;:&quot;k7Q2&quot;,&quot;n&quot;:5}",
            f"{{&quot;password&quot;:&quot;{MARK}&quot;,&quot;n&quot;:5}}",
        ),
        ("- name: DB_PASSWORD\n  value: k7Q2x9Zw\n- name: n", f"- name: DB_PASSWORD\n  value: {MARK}\n- name: n"),
        ("https%3A%2F%2Fh%2F%3Fapi_key%3Dk7Q2%26n%3D1", f"https%3A%2F%2Fh%2F%3Fapi_key%3D{MARK}%26n%3D1"),
        ("the token 'k7Q2x9ZwA1b2' has expired", f"the token '{MARK}' has expired"),
        ("<Cookie sid=k7Q2x9Zw for h/>", f"<Cookie sid={MARK} for h/>"),
        ("api_key\n  Wrong [type=x, input_value='k7Q2', input_type=str]", None),
    ],
)
def test_what_stands_around_it_stays(text: str, left: str | None) -> None:
    assert redact_text(text) == (left or text.replace("k7Q2", MARK))


@pytest.mark.parametrize(
    "text",
    [
        "api_key=f(" * 30_000,
        "api_key=a[" * 30_000,
        "api_key=" + "a." * 100_000 + "(",
        "password: str " * 30_000,
        "password: str | " * 30_000 + "=",
        "&quot;password&quot;:" * 20_000,
        "\\u0022password\\u0022:\\u0022" * 10_000,
        "name: password\n" * 30_000 + "value",
        "name: password " + ", " * 100_000 + "value",
        "api_key\n" * 30_000 + "input_value",
        "api_key\n" + "x" * 200_000 + "input_value",
        "token " * 60_000,
        "password is " * 30_000,
        "fly0_" * 40_000,
        "pplx-a." * 40_000,
        "<Cookie a" * 30_000,
        "LS0tLS1CRUdJTi" * 15_000,
        "----- BEGIN PRIVATE" * 15_000,
        "----BEGIN" + " " * 100_000 + "PRIVATE KEY",
        "12345678:AA" * 20_000,
    ],
    ids=range(20),
)
@pytest.mark.timeout(20)
def test_hostile_text_cannot_make_a_scan_run_away(text: str) -> None:
    shown = redact_text(text)

    assert shown == text or MARK in shown
