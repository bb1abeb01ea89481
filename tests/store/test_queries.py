"""A query is a file, and a file is a function."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tinkertape.store import queries

QUERIES = sorted((queries.ROOM / "queries").glob("*.sql"))
SCHEMA = sorted((queries.ROOM / "schema").glob("*.sql"))
SQL = re.compile(r"\b(SELECT|INSERT INTO|DELETE FROM|ALTER TABLE|CREATE TABLE)\b")


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_says_its_question_parameters_and_columns(path: Path):
    head = [line for line in path.read_text().splitlines() if line.startswith("-- ")]

    assert head[0].startswith(f"-- {path.stem}: ")
    body = path.read_text().split("\n", len(head))[-1]
    for name, kind in re.findall(r"\{(\w+):(\w+)", body):
        assert re.search(rf"\b{name} {kind}", " ".join(head)), f"{name} is not in the head"


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_has_a_function_of_its_name(path: Path):
    assert callable(getattr(queries, path.stem))


@pytest.mark.parametrize("path", SCHEMA, ids=lambda path: path.stem)
def test_a_table_is_made_only_where_it_is_missing(path: Path):
    text = path.read_text()

    assert text.startswith(f"-- {path.stem.partition('_')[2]}: ")
    assert "CREATE TABLE IF NOT EXISTS" in text


def test_sql_stands_in_files_only():
    found = [
        f"{path.name}:{node.lineno}"
        for path in queries.ROOM.parent.rglob("*.py")
        if path.parts[-2] != "sim"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]

    assert found == []
