"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tinkertape"
TESTS = Path(__file__).parents[1]
GUARDED = {
    "guard.py",
    "bus.py",
    "dispatch.py",
    "spans.py",
}  # the one place for `except Exception`, and the bus's own calls
BLIND = {"Exception"}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "misc", "_internal"}


@functools.cache
def texts() -> dict[str, str]:
    return {
        path.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))
    }


@functools.cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in texts().items()}


def caught_by(handler: ast.ExceptHandler) -> Iterator[str]:
    if handler.type is None:
        yield "everything"
        return
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    yield from (ast.unparse(kind) for kind in kinds)


def test_only_guard_and_bus_catch_every_exception():
    blind = [
        f"{name} line {node.lineno}: except {kind}"
        for name, tree in trees().items()
        if name not in GUARDED
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        for kind in caught_by(node)
        if kind in BLIND or kind == "everything"
    ]

    assert blind == []


def test_every_lint_rule_that_is_switched_off_on_a_line_has_its_reason_there():
    bare = re.compile(r"# noqa(?!: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*  ?\S)")

    assert [
        f"{name}: {line}" for name, text in texts().items() for line in text.splitlines() if bare.search(line)
    ] == []


def test_every_module_says_what_it_is():
    assert [name for name, tree in trees().items() if not ast.get_docstring(tree)] == []


def test_every_test_asserts_something():
    silent = [
        f"{path.relative_to(TESTS)}: {node.name}"
        for path in sorted(TESTS.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if not any(isinstance(inner, ast.Assert) or _is_expectation(inner) for inner in ast.walk(node))
    ]

    assert silent == []


def _is_expectation(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.raises", "pytest.warns", "pytest.fail")


def test_no_module_is_a_drawer_for_what_has_no_place():
    assert [name for name in texts() if Path(name).stem in FORBIDDEN_NAMES] == []


def test_the_simulated_service_imports_nothing_of_ours():
    foreign = [
        f"{file}: {name}"
        for file, tree in trees().items()
        if file.startswith("sim/")
        for node in ast.walk(tree)
        for name in imported_by(node)
        if name.split(".")[0] == "tinkertape" and not f"{name}.".startswith("tinkertape.sim.")
    ]

    assert foreign == []


def imported_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""
