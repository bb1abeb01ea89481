"""The public names, and what `import tinkertape` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinkertape

PUBLIC = [
    "Bus",
    "Event",
    "EventType",
    "Poller",
    "Telemetry",
    "attach",
    "attach_all",
    "attach_many",
    "capture_exceptions",
    "carry",
    "classify",
    "collector",
    "detach",
    "diagnose",
    "execute",
    "get_telemetry",
    "instrument",
    "is_user_error",
    "list_handlers",
    "log_events",
    "metrics",
    "open_tape",
    "record",
    "redact",
    "replay",
    "scope",
    "scope_from",
    "span",
    "start",
    "step",
    "testing",
    "traceparent",
]
HEAVY = ("httpx", "chdb", "starlette", "pydantic", "numpy", "tinker", "click", "rich", "asyncio", "uvicorn", "jinja2")
MODULES_MAX = 40  # that a bare interpreter has not: typing and re, with what they need, are nearly all


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has after running `program`, and a bare one has not."""
    report = "\nimport sys; print(' '.join(sys.modules))"
    bare, after = (
        set(
            subprocess.run(
                [sys.executable, "-I", "-c", code + report], capture_output=True, text=True, check=True
            ).stdout.split()
        )
        for code in ("", program)
    )
    return after - bare


def test_the_public_names_are_these_and_no_others():
    assert sorted(tinkertape._HOMES) == PUBLIC


def test_the_lazy_table_and_the_block_for_type_checkers_say_the_same():
    tree = ast.parse(Path(tinkertape.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            is_room = node.module == "tinkertape"
            imported[alias.asname] = f"{node.module}.{alias.name}" if is_room else node.module
    assert imported == tinkertape._HOMES


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there(name):
    assert getattr(tinkertape, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = tinkertape.nonesuch


def test_dir_lists_the_public_names_before_they_are_used():
    assert set(PUBLIC) <= set(dir(tinkertape))


def test_importing_tinkertape_imports_nothing_heavy():
    loaded = loaded_by("import tinkertape")

    assert {name for name in loaded if name.split(".")[0] in HEAVY} == set()


def test_importing_tinkertape_imports_hardly_anything():
    loaded = loaded_by("import tinkertape")

    assert len(loaded) <= MODULES_MAX, sorted(loaded)


def test_the_whole_client_needs_msgspec_and_the_standard_library_only():
    client = [
        "Bus",
        "Event",
        "EventType",
        "Poller",
        "Telemetry",
        "classify",
        "diagnose",
        "instrument",
        "open_tape",
        "replay",
        "span",
    ]
    loaded = loaded_by(f"import tinkertape\nfor name in {client}: getattr(tinkertape, name)")

    ours = {"tinkertape", "msgspec", "typing_extensions"}  # the last is msgspec's, where it happens to be installed
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names) - ours
    assert {name for name in foreign if not name.startswith("_")} == set()
