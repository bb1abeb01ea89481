"""Writes docs/versions.md from a run of every release: `python -m tests.versions.page`, some minutes.

Reads it back as well, so that a run of a few releases can be held against it.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.versions.limits import LIMITS, Limit, wrong_limits
from tests.versions.releases import install, releases
from tests.versions.runs import Observed, differences, observe_all

PAGE = Path(__file__).parents[2] / "docs" / "versions.md"
INSTALLED_WITHIN_S = 120.0

HEAD = """\
# Versions of the Tinker SDK

<!-- made by `python -m tests.versions.page` from a run of every release below -->

tinkertape records every minor release of `tinker` from 0.6 (December 2025) on. `./tt test --versions` runs one program
with the newest patch of each, recorded, against the simulated service: a training run that meets a pause, two refused
submits, a failed poll, an expired promise, a failed request and a timeout, and then every public operation of the
release's clients, sync and async. For each the tape must say what the program did and what the service saw: the same
operations and outcomes, requests, polls, HTTP exchanges, pauses, retries and waits, nothing more and nothing less.
`./tt test` does so with a few of them. From 0.18 on it is run once more with all that a service may switch on: tokens
for keys, polls for a whole sampling session, compressed bodies, httpx's own transport.

The SDK's own telemetry goes where `install(sdk_telemetry=…)` says ([security](security.md)) with every release: to the
service, to the tape and not the service, or nowhere.

The SDK's own tests, which come in its wheel, pass with tinkertape installed as they do without.

Two things the SDK does with tinkertape and without. A program that ends while calls are under way, with no `close`, may
die by SIGABRT when all of its code has run (seen with 0.24, 0.36 and 0.38, up to one run in four). And `close` of 0.36
may wait for ever for a heartbeat that was answered just as it was cancelled.

Each release ran with the dependencies of the newest. An operation is the same under both of its names (`sample`,
`sample_async`), and whatever it hands out: the client, a future of it, a future to be awaited.
"""


def main() -> int:
    wanted = releases()
    for number, release in enumerate(install(wanted, within_s=INSTALLED_WITHIN_S), 1):
        _say(f"{number}/{len(wanted)} there: tinker {release.version}")
    seen: dict[str, frozenset[str]] = {}
    all_right = True
    with tempfile.TemporaryDirectory(prefix="tinkertape-versions-") as folder:
        running = observe_all(wanted, Path(folder))
        for release in wanted:
            observed = running[release.version].result()
            wrong = [*differences(observed), *wrong_limits(observed)]
            _say(f"tinker {release.version}: {'; '.join(wrong) or 'all is recorded'}")
            all_right = all_right and not wrong
            seen[release.version] = operations_of(observed)
    if all_right:
        PAGE.write_text(page(seen), encoding="utf-8")
    return 0 if all_right else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def operations_of(observed: Observed) -> frozenset[str]:
    return frozenset(name for name, _, _ in observed.ends())


def page(seen: Mapping[str, frozenset[str]]) -> str:
    """The whole page, from the operations that each release showed; oldest first."""
    return "\n".join([HEAD, *_releases_table(seen), "", *_operations_table(seen), "", *_limits_table()]) + "\n"


def _releases_table(seen: Mapping[str, frozenset[str]]) -> Iterator[str]:
    yield from ("## Releases", "")
    yield from ("| `tinker` | operations seen | new | gone | limits |", "|---|---|---|---|---|")
    before: frozenset[str] = frozenset()
    for version, names in seen.items():
        new = _names(names - before) if before else ""
        limits = ", ".join(str(number) for number, limit in enumerate(LIMITS, 1) if limit.is_of(version))
        yield f"| {version} | {len(names)} | {new} | {_names(before - names)} | {limits} |"
        before = names


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _operations_table(seen: Mapping[str, frozenset[str]]) -> Iterator[str]:
    yield from ("## Operations", "", "As they are recorded: `tinker.` before, `.stop` or `.exception` behind.", "")
    yield from ("| operation | seen in |", "|---|---|")
    for name in sorted(frozenset().union(*seen.values())):
        yield f"| `{name}` | {_spans([version for version in seen if name in seen[version]], list(seen))} |"


def _spans(having: list[str], versions: list[str]) -> str:
    """Which of the releases, as stretches without a gap."""
    stretches: list[list[str]] = []
    for version in having:
        if stretches and versions.index(version) == versions.index(stretches[-1][-1]) + 1:
            stretches[-1].append(version)
        else:
            stretches.append([version])
    return ", ".join(f"{stretch[0]} – {stretch[-1]}" if stretch[1:] else stretch[0] for stretch in stretches)


def _limits_table() -> Iterator[str]:
    yield from ("## Limits", "", "What is missing, and why.", "", "| | what | releases | why |", "|---|---|---|---|")
    for number, limit in enumerate(LIMITS, 1):
        yield f"| {number} | {limit.what} | {_range(limit)} | {limit.why} |"


def _range(limit: Limit) -> str:
    return f"0.{limit.first}" if limit.first == limit.last else f"0.{limit.first} – 0.{limit.last}"


def written(text: str) -> dict[str, frozenset[str]]:
    """The operations of each release, as the page has them."""
    versions = re.findall(r"^\| (\d+\.\d+\.\d+) \|", text, re.MULTILINE)
    seen: dict[str, set[str]] = {version: set() for version in versions}
    for name, spans in re.findall(r"^\| `(\w+\.\w+)` \| (.+) \|$", text, re.MULTILINE):
        for span in spans.split(", "):
            first, _, last = span.partition(" – ")
            for version in versions[versions.index(first) : versions.index(last or first) + 1]:
                seen[version].add(name)
    return {version: frozenset(names) for version, names in seen.items()}


if __name__ == "__main__":
    sys.exit(main())
