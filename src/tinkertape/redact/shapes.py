"""What a secret looks like, wherever it stands: keys of services, tokens, passwords in URLs, private keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

MARK = "[redacted]"
SHORTEST = 8  # characters: nothing shorter can hold a secret together with what marks it as one

# where a key may begin: not inside a word, unless the word's end is an escape ("\n", "%3D", "\u0022")
START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtabfv0])|(?<=%[0-9A-Fa-f]{2})|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"


def looks_random(text: str) -> bool:
    """Could a person not have meant this as a word? Letters and digits mixed, or long and without a break."""
    if len(text) < SHORTEST or any(character.isspace() for character in text):
        return False
    digits = any(character.isdigit() for character in text)
    letters = any(character.isalpha() for character in text)
    mixed = not text.islower() and not text.isupper() and not text.istitle()
    if letters and (digits or mixed):
        return True
    return len(text) >= (16 if text.isalpha() else 32)


class Shape(NamedTuple):
    """A secret's shape: texts with one of `triggers` are searched for `pattern`."""

    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str] = MARK


def _scheme(match: re.Match[str]) -> str:
    return f"{match[1]}{MARK}" if looks_random(match[2]) else match[0]


def _user(match: re.Match[str]) -> str:
    return f"://{MARK}@" if ":" in match[1] or looks_random(match[1]) else match[0]


def _encoded_user(match: re.Match[str]) -> str:
    user = match[2]
    return f"{match[1]}{MARK}{match[3]}" if _COLON.search(user) or looks_random(user) else match[0]


def _curl_user(match: re.Match[str]) -> str:
    return match[0] if match[2].isdigit() else f"{match[1]}{MARK}"


_COLON = re.compile(":|%(?:25)?3[Aa]")


def _prefixed(*prefixes: str, least: int) -> Shape:
    names = "|".join(re.escape(prefix) for prefix in prefixes)
    return Shape(prefixes, re.compile(rf"{START}(?:{names})[A-Za-z0-9_\-]{{{least},}}"))


SHAPES: tuple[Shape, ...] = (
    Shape(
        ("-----BEGIN",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----|\Z)", re.S
        ),
    ),
    _prefixed("tml-", least=4),
    Shape(
        ("sk-",),
        re.compile(START + r"sk-(?:[A-Za-z0-9_\-]{20,}|(?=[A-Za-z_\-]{0,20}\d)[A-Za-z0-9_\-]{8,})"),
    ),
    Shape(("eyJ",), re.compile(START + r"eyJ[A-Za-z0-9_\-]{8,}[A-Za-z0-9_.\-+/=]*")),
    _prefixed("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "npm_", "gsk_", "r8_", "dop_v1_", least=20),
    _prefixed(
        "sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_", "glpat-", "xai-", "nvapi-", "pypi-AgE", least=10
    ),
    _prefixed("xoxb-", "xoxa-", "xoxp-", "xoxr-", "xoxs-", "xoxe-", "xapp-", least=8),
    _prefixed("AIza", "ya29.", least=30),
    Shape(("SG.",), re.compile(START + r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}")),
    Shape(
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        re.compile(START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Z0-9])"),
    ),
    Shape(
        ("earer ", "EARER "),
        re.compile(r"(?i)((?<![a-z0-9])bearer\s{1,4}(?:token\s{1,4})?)([A-Za-z0-9._~+/=\-]{6,})"),
        _scheme,
    ),
    Shape(
        ("asic ", "ASIC "),
        re.compile(r"(?i)((?<![a-z0-9])basic\s{1,4})([A-Za-z0-9+/]{6,}={0,2})"),
        _scheme,
    ),
    Shape(("://",), re.compile(r"://([^\s/?#'\"<>\\]+)@"), _user),
    Shape(("ig=", "IG=", "ignature="), re.compile(r"(?i)([?&](?:sig|signature)=)([^\s&#'\"<>\\]{6,})"), _scheme),
    Shape(
        ("%2F%2F", "%2f%2f", "%252F%252F", "%252f%252f"),
        re.compile(
            r"(%(?:25)?2[Ff]%(?:25)?2[Ff])((?:[^\s/?#'\"<>\\%&]|%(?!(?:25)?(?:2[Ff]|3[Ff]|23|26))[0-9A-Fa-f]{2})+)((?:%(?:25)?40|@))"
        ),
        _encoded_user,
    ),
    Shape(
        ("curl",),
        re.compile(
            r"""((?<![\w\-])(?:-[A-Za-z]{0,6}[uU]|--(?:proxy-)?user)(?:\\*["'],\s{0,4}\\*["']|[\s=]{0,4}\\*["']?)"""
            r"""[^\s:"'\\]{1,100}+:)([^\s"'\\]+)"""
        ),
        _curl_user,
    ),
    Shape(
        ("hooks.slack.com/", "/api/webhooks/"),
        re.compile(
            r"((?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks)/)[A-Za-z0-9/_\-]+"
        ),
        rf"\1{MARK}",
    ),
)

added_shapes: list[re.Pattern[str]] = []  # by `additions.add`
