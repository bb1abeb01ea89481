"""How else a secret is written beside its name than as `key: value`: options, markup, percent-encoding, prose.

Each form is a pattern that finds a name, and a function that says where the value is, or None where there is no secret.
Every pattern tries a word once, so that a scan is linear. Pure.

A possessive quantifier stands on a character class only: on a group it matches wrongly before Python 3.11.5, and Debian
12 has 3.11.2. The groups here have nothing to go back to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tinkertape.redact.keys import BY_VALUE, KEEP, NOT_COUNTS, SECRET, set_of, verdict_of, words_of
from tinkertape.redact.shapes import MARK, looks_random

QUOTE = r"""(?:\\*["']|&(?:quot|apos|\#3[49]);|\\+u002[27]|\\+x2[27])"""  # of JSON in JSON, of markup

HARMLESS = set_of(
    "None null True true False false ... os.environ[ os.environ.get( os.getenv( str bytes int bool SecretStr",
    "YES NO yes no not raise return pass",
)
_PROSE = set_of(
    "a an and are argument be but can cannot does flag for from has if in instead is it missing must needs not on",
    "option or required requires should takes the to twice was were when which will with without",
)  # what stands after an option that is only spoken of
_MIXED_MIN = 12  # characters
_NO_SECRET_ENDS = frozenset({"env", "file", "length", "path", "prompt", "stdin"})

Span = tuple[int, int]


class Form(NamedTuple):
    """Texts that contain `trigger` (in lower case) are searched for `pattern`; `span` is where a match's value is."""

    trigger: str
    pattern: re.Pattern[str]
    span: Callable[[re.Match[str]], Span | None]


def replaced(text: str, matches: re.Pattern[str], span: Callable[[re.Match[str]], Span | None]) -> str:
    """The text with the mark in the place of each span; a match inside what was replaced before is passed over."""
    parts: list[str] = []
    done = 0
    for match in matches.finditer(text):
        if match.start() < done:
            continue
        found = span(match)
        if found is not None and found[0] < found[1]:
            parts += text[done : found[0]], MARK
            done = found[1]
    return "".join(parts) + text[done:] if parts else text


def hides(key: str, value: str) -> bool:
    """Is the value under this key a secret, where both are text?"""
    if not value or value in HARMLESS:
        return False
    verdict = verdict_of(key)
    return verdict == SECRET or (verdict in (BY_VALUE, NOT_COUNTS) and looks_random(value))


def is_secret_flag(flag: str) -> bool:
    """Is what comes after this argument of a command a secret? `--api-key`: yes; `--max-tokens`, `--password=x`: no."""
    name = flag.lstrip("-")
    if not 0 < len(flag) - len(name) <= 2 or len(name) < 2 or not name.isprintable() or "=" in name or " " in name:
        return False
    words = words_of(name)
    if not words or words[0] == "no" or words[-1] in _NO_SECRET_ENDS:
        return False
    return words == ["token"] or verdict_of(name) == SECRET


def is_argument(value: str) -> bool:
    """Could this be the value of an option: no option itself, no small number, no word of a sentence about it?"""
    return not (
        value.startswith("-") or (value.isdigit() and len(value) < 4) or value in HARMLESS or value.lower() in _PROSE
    )


def _value(match: re.Match[str]) -> Span | None:
    return match.span("value") if hides(match["key"], match["value"]) else None


_FLAG = re.compile(
    r"""(?<![\w\-])(?P<flag>-{1,2}[A-Za-z][\w\-]{1,80}+)
        (?:(?P<end>\\*["'])\s{0,4},\s{0,4}[bB]?(?P=end)(?P<listed>(?:(?!(?P=end))[^\n])*)
          |[ \t]{1,8}(?:\\+\r?\n[ \t]{0,16})?
            (?:(?P<open>\\*["'])(?P<quoted>(?:(?!(?P=open))[^\n])*)|(?P<bare>(?:[^\s"'`\\]|\\(?![nrt"'\\]))+)))""",
    re.VERBOSE,
)


def _argument(match: re.Match[str]) -> Span | None:
    group = next(name for name in ("listed", "quoted", "bare") if match[name] is not None)
    return match.span(group) if is_secret_flag(match["flag"]) and is_argument(match[group]) else None


_MARKUP = re.compile(
    r"<(?P<key>[A-Za-z_][\w.\-:]{0,100}+)(?:\s[^<>]{0,200}+)?>\s{0,8}(?:<!\[CDATA\[)?(?P<value>[^<]++)(?=</)"
)
_ENCODED = re.compile(
    r"""(?:(?<![\w.\-%])|(?<=%[0-9A-Fa-f]{2})|(?<=%25[0-9A-Fa-f]{2}))(?P<key>[A-Za-z_][\w.\-]{0,100}+)
        (?:%(?:25)?2[27])?(?:%(?:25)?20|\+)?%(?:25)?3[AaDd](?:%(?:25)?2[027]|\+|[ ]){0,8}""",
    re.VERBOSE,
)
_ENCODED_VALUE = re.compile(r"(?:[^\s&\"'<>%\\]|%(?!(?:25)?(?:2[267]|0[AaDd]|7[Dd])))+")


def _encoded(match: re.Match[str]) -> Span | None:
    """The value is looked for here, so that an address under another key is searched, too."""
    if verdict_of(match["key"]) == KEEP:
        return None
    value = _ENCODED_VALUE.match(match.string, match.end())
    return value.span() if value and hides(match["key"], value[0]) else None


_NAMED = re.compile(
    r"""(?<!\w)(?:name|key)(?:\\*["'])?\s{0,4}[:=]\s{0,4}(?:\\*["'])?(?P<key>[\w.\-]{1,100}+)(?:\\*["'])?
        (?:[\s,]|\\n){1,16}
        (?:\\*["'])?(?:value|content)(?:\\*["'])?\s{0,4}[:=]\s{0,4}[bB]?
        (?:(?P<open>\\*["'])(?P<quoted>(?:(?!(?P=open))[^\n])*)|(?P<bare>[^\s,;"'<>&\\]+))""",
    re.VERBOSE | re.IGNORECASE,
)


def _named(match: re.Match[str]) -> Span | None:
    group = "bare" if match["quoted"] is None else "quoted"
    return match.span(group) if hides(match["key"], match[group]) else None


_NEWLINE = r"(?:\r?\n|(?:\\+r)?\\+n)"
_PART = re.compile(
    rf"""form-data;[ ]name=(?:\\*["'])?(?P<key>[\w.\-]{{1,100}}+)(?:\\*["'])?
        (?:{_NEWLINE}[^\r\n\\]{{1,200}}+)?{_NEWLINE}{{2}}(?P<value>(?:[^\r\n\\]|\\(?![rn]))+)""",
    re.VERBOSE,
)  # of a form that was sent in parts
_INPUT = re.compile(
    r"""(?<![\w.\-])(?P<key>[\w.\-]{1,100}+)(?:\\n|\n|:)[ ]{0,4}[^\n\[\\:]{1,200}+\[type=\w{1,60}+,[ ]
        input_value=(?P<open>\\*["'])(?P<value>(?:(?!(?P=open))[^\n])*)""",
    re.VERBOSE,
)  # as pydantic tells what it refused
_SPOKEN = re.compile(
    r"""(?<![\w\-])(?P<key>(?:(?:api|access|auth|secret)[ _\-]?)?(?:key|token|password|passphrase|secret|credential)s?)
        (?P<said>(?:[ ](?:provided|given|used|supplied|received|sent|found|is|was|value)){0,3}:?)
        (?:(?<=:)\s{0,4}|[ ]{1,4})\\*["'`]?(?P<value>[^\s"'`,\\]++)""",
    re.VERBOSE | re.IGNORECASE,
)


def _spoken(match: re.Match[str]) -> Span | None:
    value = match["value"].rstrip(".;)")
    is_announced = match["said"].startswith(" ") and match["said"].endswith(":")
    if not looks_random(value) or not (is_announced or _is_mixed(value)):
        return None
    return match.start("value"), match.start("value") + len(value)


def _is_mixed(value: str) -> bool:
    """Letters of both cases and digits, and nothing else: no word of a sentence, no name, no number."""
    return (
        len(value) >= _MIXED_MIN
        and value.isascii()
        and value.isalnum()
        and not (value.islower() or value.isupper() or value.isalpha())
    )


FORMS = (
    Form("-", _FLAG, _argument),
    Form("</", _MARKUP, _value),
    Form("%", _ENCODED, _encoded),
    Form("value", _NAMED, _named),
    Form("content", _NAMED, _named),
    Form("input_value", _INPUT, _value),
    Form("form-data", _PART, _value),
    Form(" ", _SPOKEN, _spoken),
)

_LINE_BEFORE = 2000  # characters before a key in which its line begins
_BLOCK = re.compile(r"[|>][+\-0-9]{0,2}[ \t]{0,8}(?P<newline>\r?\n|\\+r\\+n|\\+n)")


def block_end(text: str, start: int, key_start: int) -> int | None:
    """Where a block of YAML (`key: |`, then indented lines) ends that begins at `start`; None: there is none."""
    block = _BLOCK.match(text, start)
    if block is None:
        return None
    newline = block["newline"]
    line = text.rfind(newline, max(key_start - _LINE_BEFORE, 0), key_start)
    line = line + len(newline) if line >= 0 else 0
    base = _indent(text, line)
    end = place = block.end()
    while place < len(text):
        next_line = text.find(newline, place)
        stop = len(text) if next_line < 0 else next_line
        indent = _indent(text, place)
        if place + indent < stop:  # a line without text belongs to the block if another comes after it
            if indent <= base:
                break
            end = stop
        place = stop + len(newline)
    return end


def _indent(text: str, line: int) -> int:
    place = line
    while text[place : place + 1] in (" ", "\t"):
        place += 1
    return place - line
