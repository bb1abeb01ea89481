"""A file of 400 lines or a function of 60 is one thing no longer, or its docstring says why it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tinkertape"
FILE_MAX, FUNCTION_MAX = 400, 60
REASON = "Long because"

PAGES = sorted(
    path for kind in ("*.js", "*.css", "*.html", "*.sql") for path in SOURCE.rglob(kind) if "vendor" not in path.parts
)


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def too_long(tree: ast.Module, lines: int) -> Iterator[str]:
    """What of a Python file is too long, and gives no reason."""
    if lines > FILE_MAX and REASON not in (ast.get_docstring(tree) or ""):
        yield f"{lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_MAX and REASON not in (ast.get_docstring(node) or ""):
                yield f"{node.name}: {lines} lines"


def test_a_long_python_file_or_function_says_why():
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}
    found = {name: list(too_long(ast.parse(text), len(text.splitlines()))) for name, text in texts.items()}

    assert {name: long for name, long in found.items() if long} == {}


def test_a_long_script_style_sheet_template_or_query_says_why_in_its_head():
    texts = {name_of(path): path.read_text(encoding="utf-8").splitlines() for path in PAGES}

    assert [
        name for name, lines in texts.items() if len(lines) > FILE_MAX and REASON not in "\n".join(lines[:20])
    ] == []
