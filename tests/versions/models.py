"""Are our batches what the SDK's own models say a batch is? For each minor release of the last year.

    python -m tests.versions.models                     each newest patch from 0.6 on
    python -m tests.versions.models 0.24.1 0.38.0       these

Installs each version with `pip install --no-deps --target` into a cache, once, and prints a row of docs/delivery.md for
each. The SDK's dependencies are those of this environment. Status 1: one of them refuses something.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import tinkertape
from tinkertape.delivery.foreign import body, foreign_line
from tinkertape.events import catalogue
from tinkertape.wire import WireBatch, WireEvent

FIRST = (0, 6)  # published 2025-12-02
NEEDED = {"0.21.0": ("grpcio",)}  # imported at the top, and needed by no other version
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinkertape-sdks"
CHECK = """
import importlib, importlib.metadata, json, sys, types
for name in ("torch",):  # up to 0.7 it is imported at the top, and not needed for a model
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = types.ModuleType(name)
import tinker
from tinker.types import TelemetrySendRequest
assert tinker.__file__.startswith(sys.argv[1]), tinker.__file__
for line in sys.stdin:
    said = json.loads(line)
    try:
        request = TelemetrySendRequest.model_validate(said)
        kinds = [type(event).__name__ for event in request.events]
        again = request.model_dump_json(exclude_none=True)
        print(json.dumps({"kinds": kinds, "again": again}))
    except Exception as error:
        print(json.dumps({"error": str(error)[:2000]}))
"""
KINDS = {
    "SESSION_START": "SessionStartEvent",
    "SESSION_END": "SessionEndEvent",
    "UNHANDLED_EXCEPTION": "UnhandledExceptionEvent",
    "GENERIC_EVENT": "GenericEvent",
}
ODD: list[Any] = [
    None,
    {},
    {"text": "\x00\ud800 \u2028", "nan": float("nan"), "big": 1 << 80, "bytes": b"\xff", 5: {1, 2}, "none": None},
    {"when": datetime.datetime(2026, 11, 28), "deep": [[[[{"a": [None]}]]]], "object": object()},
    {"event": "SESSION_END", "duration": "0:00:01", "error_type": "x", "events": []},
    [1, "two", None],
    "only a text",
    7.5,
]


def everything(folder: Path) -> tuple[list[bytes], dict[str, Any]]:
    """The lines of a recording in which every event of the catalogue, odd data and every kind of end occur, and the
    tape's header."""
    telemetry = tinkertape.start("models", directory=folder, instrument=False)
    for event in catalogue():
        if not event.name.startswith("telemetry."):
            numbers = {key: 3 for key in event.measurements}
            tinkertape.execute(event.name, numbers, {key: "text" for key in event.metadata})
    for number, data in enumerate(ODD):
        telemetry.log(f"odd.{number}", data, severity=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")[number % 5])
    telemetry.log("Name of its own ☃")
    try:
        with tinkertape.capture_exceptions(fatal=True):
            raise ValueError("\ud800 it failed")
    except ValueError:
        telemetry.close("errored")
    [segment] = telemetry.tape.glob("*.jsonl")
    header, *lines = segment.read_bytes().splitlines()
    return lines, json.loads(header)


def wire_body(lines: list[bytes], header: dict[str, Any], sdk_version: str) -> bytes:
    """What a foreign server would be sent of it, recorded with an SDK of this version."""
    events = [event for line in lines if (event := foreign_line(line)) is not None]
    return body(events, {**header, "sdk_version": sdk_version})


def check(sent: bytes, sdk: Path | None) -> Iterator[str]:
    """What the models of the SDK in `sdk` (None: the installed one) say against a body; nothing: they take it, and give
    it back unchanged."""
    path = {"PYTHONPATH": str(sdk)} if sdk is not None else {}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(sdk or "")],
        input=sent + b"\n",
        env={**os.environ, **path},
        capture_output=True,
        timeout=120,
    )
    if done.returncode or not done.stdout:
        yield done.stderr.decode().strip().splitlines()[-1]
        return
    found = json.loads(done.stdout)
    if "error" in found:
        yield found["error"]
        return
    before = [msgspec.json.decode(event, type=WireEvent) for event in msgspec.json.decode(sent, type=WireBatch).events]
    batch = msgspec.json.decode(found["again"].encode(), type=WireBatch)  # as the SDK would send it to us
    after = [msgspec.json.decode(event, type=WireEvent) for event in batch.events]
    for ours, kind, theirs in zip(before, found["kinds"], after, strict=True):
        same = (ours.event_id, ours.event_name, ours.severity, ours.duration, ours.error_message, _data(ours))
        if KINDS[ours.event] != kind:
            yield f"{ours.event} {ours.event_name} is taken for a {kind}"
        elif same != (
            theirs.event_id,
            theirs.event_name,
            theirs.severity,
            theirs.duration,
            theirs.error_message,
            _data(theirs),
        ):
            yield f"{ours.event} {ours.event_name} comes back as another"


def _data(event: WireEvent) -> Any:
    return msgspec.json.decode(event.event_data) if event.event_data else None


def newest_patches() -> list[str]:
    """The newest patch of each minor release from `FIRST` on, as the package index has them."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", "tinker"], capture_output=True, text=True, check=True
    )
    listed = re.search(r"Available versions: (.*)", done.stdout)
    versions = re.findall(r"\d+\.\d+\.\d+(?=,|\s|$)", listed[1] if listed else "")
    found: dict[tuple[int, ...], str] = {}
    for version in versions:  # the newest first
        found.setdefault(tuple(map(int, version.split(".")[:2])), version)
    return [found[minor] for minor in sorted(found) if minor >= FIRST]


def installed(version: str) -> Path:
    """The folder of one version, installed where it is not yet."""
    target = CACHE / f"tinker-{version}"
    if not (target / "tinker").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        subprocess.run([*command, f"tinker=={version}", *NEEDED.get(version, ())], check=True)
    return target


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        lines, header = everything(Path(folder))
    print(f"pydantic {importlib.metadata.version('pydantic')}, {len(lines)} lines")
    for version in sys.argv[1:] or newest_patches():
        sent = wire_body(lines, header, version)
        said = list(check(sent, installed(version)))
        wrong += bool(said)
        print(f"| {version} | {len(json.loads(sent)['events'])} | {'; '.join(said)[:300] or 'accepted'} |", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
