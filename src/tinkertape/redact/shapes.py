"""What a secret looks like, wherever it stands: keys of services, tokens, passwords in URLs, private keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

MARK = "[redacted]"
SHORTEST = 8  # characters: nothing shorter can hold a secret together with what marks it as one

# where a key may begin: not inside a word, unless the word's end is an escape ("\n", "%3D", "\u0022")
START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtabfv0])|(?<=%[0-9A-Fa-f]{2})|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words. It tries only those that begin as the text does: a list would try each."""
    rests: dict[str, set[str]] = {}
    for word in words:
        rests.setdefault(word[:1], set()).add(word[1:])
    if "" in rests:  # one of them ends here, whatever follows
        return ""
    return f"(?:{'|'.join(re.escape(first) + any_of(rest) for first, rest in sorted(rests.items()))})"


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
    return match[0] if match[2].isdigit() or match[2].startswith("//") else f"{match[1]}{MARK}"


_COLON = re.compile(":|%(?:25)?3[Aa]")


def _prefixed(*prefixes: str, least: int) -> Shape:
    names = "|".join(re.escape(prefix) for prefix in prefixes)
    return Shape(prefixes, re.compile(rf"{START}(?:{names})[A-Za-z0-9_\-]{{{least},}}"))


_VENDORS = (
    *("AGE-SECRET-KEY-1", "AKID", "ATATT3", "CCIPAT_", "GOCSPX-", "LTAI", "NRAK-", "NRII-", "PMAK-", "api_org_"),
    *("bkua_", "cfut_", "csk-", "dckr_pat_", "doo_v1_", "dor_v1_", "dp.st.", "dt0c01.", "esecret_", "figd_", "figo_"),
    *("fly0_", "fw_", "glc_", "gldt-", "glptt-", "glrt-", "glsa_", "hvb.", "hvs.", "jina_", "lin_api_", "lsv2_"),
    *("nfp_", "ntn_", "pcsk_", "phx_", "pplx-", "pscale_", "pul-", "rnd_", "rpa_", "rubygems_", "sb_secret_", "sbp_"),
    *("sgp_", "shpat_", "shpca_", "shppa_", "shpss_", "sntrys_", "sntryu_", "sq0atp-", "sq0csp-", "tgp_v1_", "tskey-"),
    *("tvly-", "vercel_blob_rw_", "wandb_v1_", "xkeysib-"),
)  # what keys begin with; a name of words may, too (`jina_embeddings`), but has not 16 letters and digits in a row

_NEXT = r"""(?:\\*["'],\s{0,4}\\*["']|\s{1,4})"""  # between two words of a command, or of its list
_WORDS = rf"""[^\n]{{0,80}}?{_NEXT}"""
_QUOTED = r"""['\"][^'\"\n]{0,100}['\"]"""

SHAPES: tuple[Shape, ...] = (
    Shape(
        ("-----BEGIN", "---- BEGIN"),
        re.compile(
            r"-{4,5} ?BEGIN[A-Z0-9 %+]{0,60}PRIVATE(?:[ +]|%20)KEY.*?"
            r"(?:-{4,5} ?END[A-Z0-9 %+]{0,60}PRIVATE(?:[ +]|%20)KEY[A-Z0-9 %+]{0,20}-{4,5}|\Z)",
            re.S,
        ),
    ),
    Shape(("LS0tLS1CRUdJTi",), re.compile(r"LS0tLS1CRUdJTi(?!BDRVJU|BQVUJM)[A-Za-z0-9+/=]{16,}")),  # one in base64
    Shape(
        _VENDORS,
        re.compile(rf"{START}{any_of(_VENDORS)}(?=[A-Za-z0-9_\-.]{{0,40}}[A-Za-z0-9]{{16}})(?:\.?[A-Za-z0-9_\-])+"),
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
    _prefixed("secret_", least=40),
    _prefixed("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "xwfp-", least=8),
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
        ("curl",),
        re.compile(
            r"""((?<![\w\-])-[A-Za-z]{0,6}b(?:\\*["'],\s{0,4}|[\s=]{0,4})(?:(\\*["'])(?=[^\n"'\\]*=)|(?=[^\s=:"'\\]{1,100}+=)))"""
            r"""(?(2)(?:(?!\2)[^\n])*|[^\s"'\\]+)"""
        ),
        rf"\1{MARK}",
    ),
    Shape(
        ("sshpass", "redis-cli", "mysql", "docker"),
        re.compile(
            rf"""((?<![\w\-])(?:sshpass{_NEXT}-p|redis-cli{_WORDS}-a|mysql(?:dump|admin)?{_WORDS}-p(?=[^\s"'])"""
            rf"""|docker{_NEXT}login{_WORDS}-p)(?:{_NEXT}|(?<=-p)))[^\s"'\\]+"""
        ),
        rf"\1{MARK}",
    ),
    Shape(
        ("asicAuth(",), re.compile(rf"(BasicAuth\(\s{{0,8}}{_QUOTED}\s{{0,4}},\s{{0,4}}['\"])[^'\"\n]+"), rf"\1{MARK}"
    ),
    Shape(("DENTIFIED BY ", "dentified by "), re.compile(r"(?i)(identified by ['\"])[^'\"\n]+"), rf"\1{MARK}"),
    Shape(("SimpleCookie: ",), re.compile(r"(SimpleCookie: )[^>\n]+"), rf"\1{MARK}"),
    Shape(("key-",), re.compile(START + r"key-[0-9a-f]{32}(?![0-9a-z])")),  # of Mailgun
    Shape(("SK",), re.compile(START + r"SK[0-9a-f]{32}(?![0-9a-z])")),  # of Twilio
    Shape(("atlasv1.",), re.compile(r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-]{20,}")),
    Shape((":AA",), re.compile(r"(?<![0-9])[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}")),  # a bot of Telegram
    Shape(("<Cookie ",), re.compile(r"(<Cookie [^\s=]{1,100}=)[^\s>]+"), rf"\1{MARK}"),  # http.cookiejar's repr
    Shape(
        ("hooks.slack.com/", "/api/webhooks/", "webhook.office.com/", "office.com/webhook/", "api.telegram.org/"),
        re.compile(
            r"((?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks"
            r"|(?:webhook|outlook)\.office\.com/webhook(?:b2)?)/|api\.telegram\.org/(?:file/)?bot)[A-Za-z0-9/_@:\-]+"
        ),
        rf"\1{MARK}",
    ),
)

added_shapes: list[re.Pattern[str]] = []  # by `additions.add`
