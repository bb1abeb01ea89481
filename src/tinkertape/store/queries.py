"""The named queries: a `*.sql` file each, one function each; SQL is built nowhere.

Each file's head says the question, the parameters, the columns and what is read. The functions run in the caller's
thread and raise `StoreError`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tinkertape.store.engine import Engine, Writer
from tinkertape.tape.format import Header
from tinkertape.tape.reader import CUT_SHORT

ROOM = Path(__file__).parent
AFTER_ALL = (2**63 - 1, "\U0010ffff")  # the cursor before the newest run

_decode = msgspec.json.Decoder().decode


class StoredProcess(msgspec.Struct, frozen=True):
    """What is stored of one process: its events, how many of them ours (with a derived id), the highest index of
    those (-1: none)."""

    run: str
    process: str
    stored: int
    ours: int
    highest: int


class Passed(msgspec.Struct, frozen=True):
    """The events of one process that pass on their way into the store; of ours among them (with a derived id) the
    lowest index, the highest, and how many different ones."""

    project: str
    run: str
    process: str
    events: int
    unfit: int
    ours: int
    lowest: int
    highest: int
    different: int


class ProcessRow(msgspec.Struct, frozen=True):
    """A process that recorded a run; `header` as on its tape."""

    project: str
    run: str
    process: str
    name: str
    wall_ns: int
    header: dict[str, Any]


class LedgerRow(msgspec.Struct, frozen=True):
    """What a process said last of itself; `closed` is the status it ended with, '' while it has not."""

    run: str
    process: str
    recorded: int
    dropped: dict[str, int]
    closed: str


class Summary(msgspec.Struct, frozen=True):
    """A run as the list shows it, and how far into its events that has seen."""

    run: str
    began_us: int
    arrival: int
    summary: dict[str, Any]


@functools.cache
def query_text(name: str) -> str:
    """The text of `queries/<name>.sql`."""
    return (ROOM / "queries" / f"{name}.sql").read_text(encoding="utf-8")


def schema_texts() -> list[str]:
    """The statements that make the tables, in order; each does nothing where the table is there."""
    return [path.read_text(encoding="utf-8") for path in sorted((ROOM / "schema").glob("*.sql"))]


def run_events(engine: Engine, run: str, after: int, limit: int) -> list[tuple[Any, ...]]:
    return engine.read(query_text("run_events"), {"run": run, "after": after, "limit": limit})


def last_events(engine: Engine, run: str, limit: int) -> list[tuple[Any, ...]]:
    return engine.read(query_text("last_events"), {"run": run, "limit": limit})


def count_events(engine: Engine, run: str) -> int:
    return int(engine.read(query_text("count_events"), {"run": run})[0][0])


def last_arrival(engine: Engine) -> int:
    return int(engine.read(query_text("last_arrival"))[0][0])


def stored_by_process(engine: Engine, run: str | None = None) -> list[StoredProcess]:
    return [StoredProcess(*row) for row in engine.read(query_text("stored_by_process"), {"run": run or ""})]


def complete_processes(engine: Engine) -> dict[tuple[str, str, str], int]:
    return {(row[0], row[1], row[2]): row[3] for row in engine.read(query_text("complete_processes"))}


def stored_identities(
    engine: Engine, run: str, processes: Sequence[str], low: int, high: int
) -> set[tuple[str, int, str]]:
    parameters = {"run": run, "processes": list(processes), "low": low, "high": high}
    return {(row[0], row[1], row[2]) for row in engine.read(query_text("stored_identities"), parameters)}


def rejected_by_process(engine: Engine, run: str | None = None) -> list[tuple[str, str, int]]:
    return [(row[0], row[1], row[2]) for row in engine.read(query_text("rejected_by_process"), {"run": run or ""})]


def cut_lines(engine: Engine, run: str) -> int:
    return int(engine.read(query_text("cut_lines"), {"run": run, "ending": CUT_SHORT})[0][0])


def processes(engine: Engine, run: str | None = None) -> list[ProcessRow]:
    rows = engine.read(query_text("processes"), {"run": run or ""})
    return [ProcessRow(row[0], row[1], row[2], row[3], row[4], _decode(row[5])) for row in rows]


def ledgers(engine: Engine, run: str | None = None) -> list[LedgerRow]:
    rows = engine.read(query_text("ledgers"), {"run": run or ""})
    return [LedgerRow(row[0], row[1], row[2], _decode(row[3]) if row[3] else {}, row[4]) for row in rows]


def sessions(engine: Engine) -> dict[str, tuple[str, str]]:
    return {row[0]: (row[1], row[2]) for row in engine.read(query_text("sessions"))}


def sessions_unfiled(engine: Engine) -> list[str]:
    return [row[0] for row in engine.read(query_text("sessions_unfiled"))]


def refile_events(engine: Engine, session_id: str, project: str, run: str, first: int) -> None:
    parameters = {"session_id": session_id, "project": project, "run": run, "first": first}
    engine.write(query_text("refile_events"), parameters)


def forget_run_events(engine: Engine, run: str) -> None:
    engine.write(query_text("forget_run_events"), {"run": run})


def forget_run_summary(engine: Engine, run: str) -> None:
    engine.write(query_text("forget_run_summary"), {"run": run})


def make_passing(writer: Writer) -> None:
    writer.write(query_text("make_passing"))


def pass_lines(writer: Writer, path: str, header: Header) -> None:
    keys = ("project", "run", "process", "session_id", "sdk_version")
    writer.write(query_text("pass_lines"), {"path": path, **{key: getattr(header, key) for key in keys}})


def passed(writer: Writer) -> list[Passed]:
    return [Passed(*row) for row in writer.read(query_text("passed"))]


def store_passed(writer: Writer, first: int, known: Mapping[tuple[str, str, str], int]) -> None:
    processes = ["\n".join(key) for key in known]
    parameters = {"first": first, "processes": processes, "known": list(known.values())}
    writer.write(query_text("store_passed"), parameters)


def clear_passing(writer: Writer) -> None:
    writer.write(query_text("clear_passing"))


def give_back_memory(engine: Engine) -> None:
    engine.write(query_text("give_back_memory"))


def summaries(engine: Engine, before: tuple[int, str] | None, limit: int) -> list[Summary]:
    before_us, before_run = before or AFTER_ALL
    parameters = {"before_us": before_us, "before_run": before_run, "limit": limit}
    return [
        Summary(row[0], row[1], row[2], _decode(row[3])) for row in engine.read(query_text("summaries"), parameters)
    ]


def summary(engine: Engine, run: str) -> Summary | None:
    rows = engine.read(query_text("summary"), {"run": run})
    return Summary(rows[0][0], rows[0][1], rows[0][2], _decode(rows[0][3])) if rows else None


def runs_made_otherwise(engine: Engine, rule: str) -> list[str]:
    return [row[0] for row in engine.read(query_text("runs_made_otherwise"), {"rule": rule})]


def runs_behind(engine: Engine) -> list[str]:
    return [row[0] for row in engine.read(query_text("runs_behind"))]
