"""The pages of the engine's own program are given back, and nothing but those."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tinkertape.store import code_pages
from tinkertape.store.code_pages import give_back_code_pages, unchanged_mappings

ENGINE = "/opt/some where/chdb/_chdb.abi3.so"
AS_READ = dict.fromkeys(("Anonymous", "Private_Dirty", "Shared_Dirty", "Swap", "Locked"), 0)

# In a process of its own: a program whose pages nobody has given back yet, and which would die of a lost one.
PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tests.store.conftest import events_of
from tinkertape.store import Store
from tinkertape.store.code_pages import give_back_code_pages
from tinkertape.store.engine import Engine

def file_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssFile:")).split()[1]) / 1024

def insert(run):
    for first in range(0, 200, 20):
        store.insert(events_of(run, 20, first=first))

def ask(run):
    while not all(work.done() for work in inserting):
        store.last_events(run)
        store.runs()
    return store.count(run)

folder = Path(sys.argv[1])
engine = Engine(folder)
before_mb = file_mb()
give_back_code_pages()
print(before_mb - file_mb())
engine.close()

with Store.open(f"chdb://{folder}") as store, ThreadPoolExecutor(4) as threads:
    inserting = [threads.submit(insert, run) for run in ("a", "b")]
    asking = [threads.submit(ask, run) for run in ("a", "b")]
    while not all(work.done() for work in inserting):
        give_back_code_pages()
    for work in inserting + asking:
        print(work.result())
"""


def entry(permissions: str = "r-xp", path: str = ENGINE, place: str = "1000-b000", **kb: int) -> str:
    about = "".join(f"{key + ':':<16}{value:>8} kB\n" for key, value in {**AS_READ, **kb}.items())
    return f"{place} {permissions} 00001000 fe:00 260386 {'':>20}{path}\n{about}VmFlags: rd ex mr mw me \n"


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says how its pages are used")
def test_the_engine_works_on_in_all_threads_while_its_program_is_given_back(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    given_back_mb, *results = ended.stdout.split()
    assert float(given_back_mb) > 100
    assert results == ["None", "None", "200", "200"]


def test_what_stands_in_the_file_as_it_does_in_memory_is_found() -> None:
    smaps = entry("r--p") + entry("r-xp", place="b000-c000") + entry("r-xp", "/usr/lib/libc.so.6", "d000-e000")

    assert list(unchanged_mappings(smaps.encode(), ENGINE)) == [(0x1000, 0xB000), (0xB000, 0xC000)]


@pytest.mark.parametrize(
    "other",
    [
        entry("rw-p"),
        entry("rwxp"),
        entry("r-xs"),
        entry("---p"),
        entry(path=""),
        entry(path=f"{ENGINE}.old"),
        entry(Anonymous=4),
        entry(Private_Dirty=4),
        entry(Shared_Dirty=4),
        entry(Swap=4),
        entry(Locked=4),
        entry().replace("Anonymous:", "Unknown:"),
    ],
)
def test_what_could_be_lost_is_left_alone(other: str) -> None:
    assert list(unchanged_mappings((entry("rw-p") + other).encode(), ENGINE)) == []


def test_a_system_that_does_not_say_how_its_pages_are_used_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_pages, "_SMAPS", tmp_path / "none")
    monkeypatch.setitem(sys.modules, code_pages.ENGINE_MODULE, code_pages)

    assert give_back_code_pages() == 0
