"""Writes the pages that are made from the code: docs/events.md, docs/detectors.md and docs/conformance.md.

python docs/generate.py           writes them
python docs/generate.py --check   writes nothing; status 1 and the names of those that are stale
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from conformance_page import conformance_page
from tinkertape.events import FAMILIES, EventType, catalogue

DOCS = Path(__file__).parent
DETECTORS = DOCS.parent / "src" / "tinkertape" / "diagnosis" / "detectors"
ENDS = ("start", "stop", "exception")
FACTS = re.compile(r"facts/\w+\.md")

EVENTS_HEAD = """\
# Events

<!-- made by docs/generate.py from src/tinkertape/events.py -->

Every event that tinkertape's own sources execute; `tinkertape events` lists the same. A name is exact: ids are
metadata, never part of a name. Durations are integers in nanoseconds of one clock, `time.perf_counter_ns`. A span's
`start` has `monotonic_time` and `system_time`; its `stop` and `exception` have `duration` and `monotonic_time`, so that
it began at `monotonic_time - duration`.

Attach to any of them:

```python
import tinkertape


def slow_polls(event, measurements, metadata, config):
    if measurements["duration"] > 5_000_000_000:
        print(metadata["request_id"], metadata["outcome"])


tinkertape.attach("slow-polls", "tinker.future.poll.stop", slow_polls)
```
"""

DETECTORS_HEAD = """\
# Detectors

<!-- made by docs/generate.py from src/tinkertape/diagnosis/detectors/ -->

A detector watches for one cause. The same ones run while a program runs, over a tape (`tinkertape diagnose`) and for
the page. Without a finding a run may be [*healthy*](diagnosis.md#healthy). [Writing a
detector](writing-a-detector.md) says how to add one.
"""


def main() -> int:
    pages = {"events.md": events_page(), "detectors.md": detectors_page(), "conformance.md": conformance_page()}
    stale = [name for name, text in pages.items() if not is_written(DOCS / name, text)]
    if "--check" in sys.argv[1:]:
        print(*(f"stale: docs/{name}; run python docs/generate.py" for name in stale), sep="\n")
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(pages[name], encoding="utf-8")
    return 0


def is_written(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def events_page() -> str:
    """The catalogue, a section for each family of public calls, each span and each single event."""
    return "\n".join([EVENTS_HEAD, *(section for key, group in groups() for section in event_section(key, group))])


def groups() -> Iterator[tuple[str, list[EventType]]]:
    """Events that share a section: a family's public calls, the three of a span, or one alone."""
    events = catalogue()
    begun = {event.name.removesuffix(".start") for event in events if event.name.endswith(".start")}
    for key, group in groupby(events, key=lambda event: group_of(event.name, begun)):
        yield key, sorted(group, key=in_order)


def in_order(event: EventType) -> tuple[str, int]:
    prefix, _, end = event.name.rpartition(".")
    return prefix, ENDS.index(end) if end in ENDS else 0


def group_of(name: str, begun: set[str]) -> str:
    prefix, _, end = name.rpartition(".")
    if end not in ENDS or prefix not in begun:
        return name
    segments = name.split(".")
    return f"tinker.{segments[1]}.<operation>" if segments[0] == "tinker" and segments[1] in FAMILIES else prefix


def event_section(key: str, group: list[EventType]) -> Iterator[str]:
    yield f"## `{key}`\n"
    yield f"{meaning_of(key, group)}\n"
    yield from (f"- {line}" for line in names(group))
    yield ""
    yield from key_table(group)
    yield ""


def meaning_of(key: str, group: list[EventType]) -> str:
    if key.endswith("<operation>"):
        return "One public call of the SDK, until its result is there."
    texts = list(dict.fromkeys(event.description.rpartition(": ")[0] or event.description for event in group))
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in texts)


def names(group: list[EventType]) -> Iterator[str]:
    for _, same in groupby(group, key=lambda event: event.name.rpartition(".")[0]):
        yield " · ".join(f"`{event.name}` ({event.severity})" for event in same)


def key_table(group: list[EventType]) -> Iterator[str]:
    """Which key is on which event: measurements first, then metadata."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for event in group:
        for kind, keys in (("measurement", event.measurements), ("metadata", event.metadata)):
            for key, meaning in keys.items():
                ends = rows.setdefault((kind, key, meaning.replace("|", "/")), [])
                if (end := event.name.rpartition(".")[2]) not in ends:
                    ends.append(end)
    if not rows:
        return
    every = {event.name.rpartition(".")[2] for event in group}
    yield "| key | kind | on | meaning |"
    yield "|---|---|---|---|"
    for (kind, key, meaning), ends in sorted(rows.items(), key=lambda row: row[0][0] != "measurement"):
        where = "all" if set(ends) == every else ", ".join(end for end in ENDS if end in ends)
        yield f"| `{key}` | {kind} | {where} | {meaning} |"


def detectors_page() -> str:
    """Each detector's own docstring, under its cause."""
    return "\n".join([DETECTORS_HEAD, *(detector_section(path) for path in detector_files())])


def detector_files() -> list[Path]:
    return sorted(path for path in DETECTORS.glob("*.py") if not path.name.startswith("_"))


def detector_section(path: Path) -> str:
    """`cause: what it means.`, then paragraphs that begin with a word such as Rule, Source or Wrong if."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    title, _, rest = docstring.partition("\n")
    cause = path.stem.replace("_", "-")
    meaning = title.removeprefix(f"{cause}:").strip()
    paragraphs = [f"## `{cause}`", f"{meaning[:1].upper()}{meaning[1:]}", *terms(rest)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def terms(text: str) -> Iterator[str]:
    """The docstring's body as a list: a line that is not indented begins a new item."""
    items: list[str] = []
    for line in text.strip().splitlines():
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        elif line.strip():
            items.append(line.strip())
    for item in items:
        term = next(
            (word for word in ("Rule", "Source", "Wrong if", "Cost", "Owner", "Advice") if item.startswith(word)), ""
        )
        linked = FACTS.sub(r"[\g<0>](\g<0>)", item.removeprefix(term).strip())
        yield f"**{term}** {linked}" if term else linked


if __name__ == "__main__":
    sys.exit(main())
