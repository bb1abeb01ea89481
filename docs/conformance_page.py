"""docs/conformance.md: each numbered behaviour of facts/beam.md, and each defect of the SDK's telemetry in facts/sdk.md
§6 (D1–D13), what is done here, and the test that shows it.

Made from the marks of the tests in tests/conformance/, as `@pytest.mark.conformance("T41", beat="…")`, and from
items.toml beside them. A mark has the item's number, and what is done otherwise: `beat` if that is better, `differs` if
it is only another way. Both are text as it stands, so that nothing has to be imported to read them.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FACTS = ROOT / "docs" / "facts" / "beam.md"
DEFECTS = ROOT / "docs" / "facts" / "sdk.md"
TESTS = ROOT / "tests" / "conformance"
GROUPS = {
    "T": "The bus",
    "M": "Metrics: definitions",
    "C": "Metrics: console",
    "P": "Metrics: Prometheus",
    "S": "Metrics: StatsD",
    "L": "Poller",
    "D": "The SDK's own telemetry",
}
NUMBER = re.compile(r"(?:^|(?<=[.;] ))([TMCPSL]\d+[a-z]?) (?=\[[tps][],])")
DEFECT = re.compile(r"^- (?:\*\*)?(D\d+)(?:\*\*)? (.*)$", re.MULTILINE)
TEXT_MAX = 200  # characters of an item's text; the whole of it is in facts/beam.md

HEAD = """\
# Conformance

<!-- made by docs/generate.py from tests/conformance/ and docs/facts/beam.md -->

The bus, the metrics and the poller do what the libraries `telemetry`, `telemetry_metrics`, its reporters and
`telemetry_poller` do on the BEAM. [facts/beam.md](facts/beam.md) lists their behaviours by number, found by reading and
running them; this page says of each what is done here. **Better** is a deviation on purpose, from what is a weakness
there; *other* is one that Python asks for, as an exception instead of an error that is returned. What is said of a
test is its own mark, so the page cannot drift from the tests. At the end the same for what is wrong with the telemetry
that the SDK itself sends ([facts/sdk.md](facts/sdk.md) §6).
"""


class Item(NamedTuple):
    """One numbered behaviour. `beat`: marked there as not to be copied."""

    number: str
    text: str
    beat: bool


class Mark(NamedTuple):
    """A test that covers an item."""

    item: str
    beat: str
    differs: str
    test: str
    path: Path
    line: int


def items() -> list[Item]:
    """The numbered behaviours of Part 1, in order; a line may hold several."""
    part = FACTS.read_text(encoding="utf-8").partition("## Part 1.")[2].partition("## Part 2.")[0]
    found = []
    for line in re.findall(r"^- (.*)$", part, re.MULTILINE):
        _, *pairs = NUMBER.split(line)
        for number, text in zip(pairs[::2], pairs[1::2], strict=True):
            found.append(Item(number, plain(text), "**BEAT**" in text))
    return [*found, *defects()]


def defects() -> list[Item]:
    """What is wrong with the SDK's own telemetry: each is to be done better."""
    part = DEFECTS.read_text(encoding="utf-8").partition("## 6. ")[2].partition("\n## ")[0]
    return [Item(number, text.replace("**", ""), True) for number, text in DEFECT.findall(part)]


def plain(text: str) -> str:
    """Without the marks of evidence."""
    return re.sub(r"\s+", " ", re.sub(r"\[[tps](?:, [^]]*)?\]|\*\*BEAT\*\*:?", "", text)).strip(" :")


def marks() -> list[Mark]:
    """Every mark of every test of the folder."""
    return [mark for path in sorted(TESTS.glob("test_*.py")) for mark in marks_in(path)]


def marks_in(path: Path) -> Iterator[Mark]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {"pytest.mark.conformance", *(target for node in tree.body for target in short_names(node))}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) in names:
                said = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
                for number in (ast.literal_eval(argument) for argument in call.args):
                    yield Mark(number, said.get("beat", ""), said.get("differs", ""), node.name, path, node.lineno)


def short_names(node: ast.stmt) -> Iterator[str]:
    """`item = pytest.mark.conformance`."""
    if isinstance(node, ast.Assign) and ast.unparse(node.value) == "pytest.mark.conformance":
        yield from (ast.unparse(target) for target in node.targets)


def explained() -> tuple[dict[str, str], dict[str, str]]:
    """Items without a meaning here, and items or whole groups still to come; each with the reason."""
    said = tomllib.loads((TESTS / "items.toml").read_text(encoding="utf-8"))
    return said["no_meaning"], said["to_come"]


def to_come(number: str, coming: dict[str, str]) -> str | None:
    """Why an item is not covered yet: its own reason, or its group's."""
    return coming.get(number, coming.get(number[0]))


def conformance_page() -> str:
    """A table a group."""
    by_item: dict[str, list[Mark]] = {}
    for mark in marks():
        by_item.setdefault(mark.item, []).append(mark)
    everything = items()
    lines = [HEAD]
    for group, title in GROUPS.items():
        lines += [f"## {title}", "", "| item | there | here | shown by |", "|---|---|---|---|"]
        lines += [row(item, by_item.get(item.number, [])) for item in everything if item.number[0] == group]
        lines.append("")
    return "\n".join(lines)


def row(item: Item, found: list[Mark]) -> str:
    tests = "<br>".join(f"[`{mark.test}`](../{mark.path.relative_to(ROOT)})" for mark in found)
    return f"| {item.number} | {cell(shortened(item.text))} | {cell(here(item, found))} | {tests} |"


def here(item: Item, found: list[Mark]) -> str:
    meaningless, coming = explained()
    said = [f"**better**: {mark.beat}" for mark in found if mark.beat]
    said += [f"*other*: {mark.differs}" for mark in found if mark.differs]
    if said or found:
        return "; ".join(said) or "the same"
    if item.number in meaningless:
        return f"no meaning here: {meaningless[item.number]}"
    return f"to come: {to_come(item.number, coming)}"


def shortened(text: str) -> str:
    if len(text) <= TEXT_MAX:
        return text
    cut = text[:TEXT_MAX].rsplit(" ", 1)[0].rstrip(",;:. ")
    return f"{cut}`…" if cut.count("`") % 2 else f"{cut}…"


def cell(text: str) -> str:
    return text.replace("|", "\\|")
