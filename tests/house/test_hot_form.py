"""Our own sources build nothing for an event that nobody hears: `if EVENT.handlers: EVENT.execute(…)`, or `tell`, which
describes nothing there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tinkertape"
BY_NAME = {  # who executes events whose names, or whose bus, are known only at run time
    "bus.py": "the failure of a handler is told on the bus that it was attached to",
    "capture.py": "an exception's event is named after the function that raised it",
    "cli/group.py": "the result of a command, no event",
    "diagnosis/watcher.py": "a watcher tells what it found on the bus that it listens to",
    "instrument/poller.py": "a poller executes on the bus that it is given",
    "tape/replay.py": "a tape's events have the names that the tape has, on the bus that is given",
    "telemetry.py": "a run is recorded on the bus that `start` is given",
}


def cold(node: ast.AST, asked: frozenset[str] = frozenset()) -> Iterator[str]:
    """Each `X.execute(…)` or `execute(…)` where no `if` has asked for `X.handlers` before."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        asked = frozenset()  # it runs later
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr == "execute" and ast.unparse(called.value) not in asked:
            yield f"line {node.lineno}: {ast.unparse(called)}"
        if isinstance(called, ast.Name) and called.id == "execute":
            yield f"line {node.lineno}: execute"
    for field, value in ast.iter_fields(node):
        known = asked | asked_in(node.test) if isinstance(node, ast.If) and field == "body" else asked
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from cold(child, known)
            if (
                isinstance(child, ast.If)
                and isinstance(child.test, ast.UnaryOp)
                and isinstance(child.body[-1], ast.Return)
            ):
                known |= asked_in(child.test)  # if not X.handlers: return


def asked_in(test: ast.expr) -> set[str]:
    return {
        ast.unparse(part.value)
        for part in ast.walk(test)
        if isinstance(part, ast.Attribute) and part.attr == "handlers"
    }


def test_every_event_is_executed_only_if_somebody_listens_and_who_is_excepted_needs_it():
    files = {path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
    found = {name: list(cold(ast.parse(text))) for name, text in files.items() if "execute" in text}

    assert {name: lines for name, lines in found.items() if lines and name not in BY_NAME} == {}
    assert [name for name in BY_NAME if not found[name]] == []


@pytest.mark.parametrize(
    ("code", "is_cold"),
    [
        ("if E.handlers: E.execute({})", False),
        ("if not E.handlers:\n return\nfor x in y: E.execute({})", False),
        ("if a and E.stop.handlers:\n for x in y: E.stop.execute({})", False),
        ("E.execute({})", True),
        ("if not E.handlers:\n pass\nE.execute({})", True),
        ("if F.handlers: E.execute({})", True),
        ("if E.handlers: pass\nelse: E.execute({})", True),
        ("if E.handlers:\n def later(): E.execute({})", True),
        ("execute('e.x', {})", True),
        ("E.stop.tell(f, x)", False),
        ("bus.execute('e.x', {})", True),
    ],
)
def test_the_form_is_known_when_it_is_seen(code, is_cold):
    assert bool(list(cold(ast.parse(code)))) is is_cold
