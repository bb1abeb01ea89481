"""The format's document is enough: its reader, which has nothing of ours, finds what ours finds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.tape.test_rotation import record

from tinkertape.tape import Recorder, open_tape
from tinkertape.tape.codecs import GZIP, Codec
from tinkertape.tape.forms import compressed_path, segment_files
from tinkertape.tape.removal import make_room

PAGE = Path(__file__).parents[2] / "docs" / "tape-format.md"


def document_reader() -> str:
    found = re.search(r"^```python file=read_tape.py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found is not None
    return found[1]


def test_the_documents_reader_finds_what_ours_finds_on_a_rotated_compressed_damaged_and_torn_tape(
    folder: Path, tmp_path: Path, codec: Codec
) -> None:
    record(folder).close()
    other = Recorder(folder, "run-1")
    other.log("of.another", {"words": "ö\n"})
    other.close()
    first, second, *_, last = [path for path in segment_files(folder) if path.name != other.path.name]
    make_room(folder, [first], 0)
    whole = compressed_path(second).read_bytes()
    compressed_path(second).write_bytes(whole[: len(whole) - 100])
    with last.open("ab") as file:
        file.write(b'garbage\n\n[1]\n{"event":"GENERIC_EVENT","event_na')
    script = tmp_path / "read_tape.py"
    script.write_text(document_reader(), encoding="utf-8")

    done = subprocess.run([sys.executable, "-I", str(script), str(folder)], capture_output=True, text=True, check=True)

    tape = open_tape(folder)
    ours = [(event.process, event.index, event.name) for event in tape]
    theirs = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert sorted(theirs) == sorted(ours)
    assert len(ours) > 190
    assert json.loads(done.stderr)["bad"] == tape.set_aside == 2
    torn = [damage.segment for damage in tape.verify().damage if damage.kind == "torn line"]
    assert torn == ([second.name] if codec is GZIP else []) + [last.name]  # of the other a block is whole, or is not
    assert json.loads(done.stderr)["torn"] == 1  # what decompression cuts short it does not see


def test_the_documents_reader_has_no_more_than_30_lines_and_nothing_of_ours() -> None:
    assert len(document_reader().splitlines()) <= 30
    assert "tinkertape" not in document_reader()
