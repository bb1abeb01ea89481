"""A file of 400 lines or a function of 60 is one thing no longer, or its docstring says why it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tinkertape"
FILE_MAX, FUNCTION_MAX = 400, 60
REASON = "Long because"

PYTHON = sorted(SOURCE.rglob("*.py"))
PAGES = sorted(
    path for kind in ("*.js", "*.css", "*.html", "*.sql") for path in SOURCE.rglob(kind) if "vendor" not in path.parts
)


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def long_functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_MAX and REASON not in (ast.get_docstring(node) or ""):
                yield node.name, lines


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_a_long_python_file_says_why(path):
    text = path.read_text(encoding="utf-8")
    has_reason = REASON in (ast.get_docstring(ast.parse(text)) or "")

    assert has_reason or len(text.splitlines()) <= FILE_MAX


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_a_long_function_says_why(path):
    assert list(long_functions(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_long_script_style_sheet_template_or_query_says_why_in_its_head(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    has_reason = REASON in "\n".join(lines[:20])

    assert has_reason or len(lines) <= FILE_MAX
