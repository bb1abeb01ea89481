"""Classes that several threads convert to are made ready first: msgspec dies where two do so at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import tinkertape

SOURCE = Path(tinkertape.__file__).parent
ONE_THREAD = ("cli", "sim")
AT_ONCE = """
import sys, threading, msgspec
from tinkertape.structs import made_ready

sys.setswitchinterval(1e-6)
fields = {f"a{number}": number for number in range(30)}
for number in range(100):
    inner = msgspec.defstruct(f"Inner{number}", [(name, int) for name in fields])
    kind = msgspec.defstruct(f"Kind{number}", [(f"b{place}", list[inner] | None, None) for place in range(25)])
    made_ready(kind)
    start = threading.Barrier(4)

    def convert():
        start.wait()
        assert msgspec.convert({"b0": [fields]}, kind).b0[0].a7 == 7

    threads = [threading.Thread(target=convert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def kinds_of(call: ast.Call) -> list[ast.expr]:
    """The class that a call makes of data, if it is one of msgspec's that take it each time."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("convert", "decode"):
        return []
    named = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
    return named or (call.args[1:2] if call.func.attr == "convert" else [])


def test_a_class_that_was_made_ready_is_made_in_several_threads_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_class_that_is_named_where_data_is_converted_is_made_ready_in_its_module() -> None:
    unready = []
    for path in sorted(SOURCE.rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        ready = {
            argument.id
            for call in calls
            if isinstance(call.func, ast.Name) and call.func.id == "made_ready"
            for argument in call.args
            if isinstance(argument, ast.Name)
        }
        named = {kind.id for call in calls for kind in kinds_of(call) if isinstance(kind, ast.Name)}
        unready += [(path.name, name) for name in named - ready - {"kind"} if path.parent.name not in ONE_THREAD]

    assert unready == []
