"""The store's folder: one process, its rights, its id, and what a SIGKILL leaves."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import wait_until

from tinkertape.errors import StoreError, StoreLocked
from tinkertape.store.lock import PID_FILE, FolderLock
from tinkertape.store.store import Store

HOLD = """
import sys
from tinkertape.store import Store
store = Store.open(sys.argv[1])
print(store.id, flush=True)
sys.stdin.read()
store.close()
"""
FILL = """
import sys
from tests.store.conftest import events_of
from tinkertape.store import Store
store = Store.open(sys.argv[1])
for first in range(0, 10**9, 500):
    store.insert(events_of("r", 500, first=first))
    print(first + 500, flush=True)
"""
COUNT = """
import sys
from tinkertape.store import Store
with Store.open(sys.argv[1]) as store:
    indexes = [event.index for _, event in store.event_stream("r")]
    assert indexes == list(range(len(indexes)))
    print(len(indexes))
"""
OPEN = """
import sys
from tinkertape.errors import StoreError
from tinkertape.store import Store
try:
    Store.open(sys.argv[1])
except StoreError as error:
    print(type(error).__name__, error)
"""


LEFT_OUT = """
import sys
from tests.store.conftest import events_of
from tinkertape.store import Store
with Store.open(sys.argv[1]) as store:
    store.insert(events_of("r", 10))
    assert store.count("r") == 10
print(sorted({"numpy", "pandas", "polars", "pyarrow"} & set(sys.modules)))
import pyarrow
"""


def python(program: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def said(program: str, url: str) -> str:
    process = python(program, url)
    output, _ = process.communicate()
    assert process.returncode == 0
    return output.strip()


def test_a_second_process_is_told_who_has_the_folder(tmp_path):
    url = f"chdb://{tmp_path}/store"
    with python(HOLD, url) as holder:
        assert holder.stdout.readline()

        assert said(OPEN, url) == (
            f"StoreLocked cannot open {tmp_path}/store: process {holder.pid} is using it; "
            "stop it, or choose another folder with --store"
        )

        holder.communicate("")


def test_a_killed_process_locks_nobody_out_and_the_id_stays(tmp_path):
    url = f"chdb://{tmp_path}/store"
    with python(HOLD, url) as holder:
        identity = holder.stdout.readline()
        holder.kill()

    assert (tmp_path / "store" / PID_FILE).read_bytes()
    with python(HOLD, url) as second:
        assert second.stdout.readline() == identity
        second.communicate("")


def test_a_pid_that_another_program_has_now_locks_nobody_out(tmp_path):
    (tmp_path / PID_FILE).write_text(f'{{"pid": {os.getppid()}, "started": 1.0}}')
    lock = FolderLock(tmp_path)

    lock.acquire()

    with pytest.raises(StoreLocked, match=f"process {os.getpid()} is using it"):
        FolderLock(tmp_path).acquire()
    lock.release()


def test_what_was_inserted_before_a_sigkill_is_there_once(tmp_path):
    url = f"chdb://{tmp_path}/store"
    acknowledged = 0
    with python(FILL, url) as filler:
        while acknowledged < 10_000:
            acknowledged = int(filler.stdout.readline())
        filler.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, filler.stdout.read().split())])

    assert int(said(COUNT, url)) in (acknowledged, acknowledged + 500)


def test_no_library_of_data_frames_is_loaded_for_the_store_nor_kept_from_others(tmp_path):
    assert said(LEFT_OUT, f"chdb://{tmp_path}/store") == "[]"


def test_only_the_owner_can_read_the_folder(tmp_path):
    url = f"chdb://{tmp_path}/store"
    with python(FILL, url) as filler:
        wait_until(lambda: filler.stdout.readline(), within_s=20)
        filler.kill()
    paths = [tmp_path / "store", *(tmp_path / "store").rglob("*")]

    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in paths if not path.is_symlink()}

    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
    assert len(modes) > 20


@pytest.mark.parametrize("url", ["sqlite:///x", "chdb://host/x", "chdb:relative", "/just/a/path", "chdb:///", ""])
def test_an_address_that_is_none_is_one_line(url):
    with pytest.raises(StoreError, match="a store's address is chdb:///absolute/folder") as error:
        Store.open(url)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="choose another folder with --store") as error:
        Store.open(f"chdb://{tmp_path}/file/store")
    assert "\n" not in str(error.value)
