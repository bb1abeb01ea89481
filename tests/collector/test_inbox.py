"""The inbox: what is acknowledged is on the disk, and many bodies share one commit."""

from __future__ import annotations

import asyncio
import errno
import shutil
import stat
from pathlib import Path

import pytest
from starlette.types import Message

from tinkertape.collector import inbox as inbox_module
from tinkertape.collector.counters import Counters
from tinkertape.collector.inbox import Inbox, InboxFull, Introduction
from tinkertape.collector.ingest import Ingest
from tinkertape.errors import CollectorError
from tinkertape.tape.format import Header
from tinkertape.tape.reader import Reader


def lines_of(folder: Path) -> list[bytes]:
    """Everything but the inbox's own headers, file by file."""
    files = sorted(folder.glob("*.jsonl"))
    return [line for file in files for line in file.read_bytes().splitlines() if b'"run":"inbox"' not in line]


async def status_of(endpoint: Ingest) -> int:
    """What it answers to somebody whose body must not be asked for."""
    statuses: list[int] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    await endpoint({"type": "http", "headers": []}, receive, send)
    return statuses[0]


async def test_bodies_that_come_together_are_committed_together(tmp_path):
    inbox = Inbox(tmp_path / "inbox")

    await asyncio.gather(*(inbox.append(b'{"n":%d}\n' % number) for number in range(500)))

    assert sorted(lines_of(inbox.folder)) == sorted(b'{"n":%d}' % number for number in range(500))
    assert inbox.commits < 50
    inbox.close()


async def test_a_segment_begins_with_a_header_and_introduces_each_process_once(tmp_path):
    inbox = Inbox(tmp_path / "inbox", segment_max=2_000)
    introduction = Introduction("p", b'{"tape":1,"run":"r","process":"p"}\n')

    for number in range(60):
        await inbox.append(b'{"n":%d,"pad":"%s"}\n' % (number, b"x" * 100), introduction)

    inbox.close()
    segments = sorted(inbox.folder.glob("*.jsonl"))
    assert len(segments) > 2
    for segment in segments:
        assert segment.read_bytes().count(b'"process":"p"') == 1
        assert isinstance(next(iter(Reader(segment)))[0], Header)


async def test_a_disk_that_refuses_is_told_and_loses_nothing(tmp_path, monkeypatch):
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(b'{"n":1}\n')
    written = inbox_module.SegmentFile.append

    def half(self: inbox_module.SegmentFile, data: bytes) -> int:
        done = written(self, data[: len(data) // 2])
        self.trouble = OSError(errno.ENOSPC, "No space left on device")
        return done

    monkeypatch.setattr(inbox_module.SegmentFile, "append", half)
    for _ in range(3):
        with pytest.raises(InboxFull, match="No space left on device; make room"):
            await inbox.append(b'{"n":2}\n')
    endpoint = Ingest(inbox, Counters())
    assert await status_of(endpoint) == 503  # and nothing of its body was read
    monkeypatch.undo()
    await inbox.append(b'{"n":2}\n')
    inbox.must_have_room()

    inbox.close()
    whole = [line for line in lines_of(inbox.folder) if line.endswith(b"}")]
    assert whole == [b'{"n":1}', b'{"n":2}']
    assert inbox.failures == 3
    assert len(list(inbox.folder.glob("*.jsonl"))) == 2  # no heap of empty files


@pytest.mark.parametrize("way", ["folder", "file", "moved"])
async def test_an_inbox_that_was_removed_is_made_anew(tmp_path, way):
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(b'{"n":1}\n')
    if way == "folder":
        shutil.rmtree(inbox.folder)
    elif way == "file":
        next(inbox.folder.glob("*.jsonl")).unlink()
    else:
        inbox.folder.rename(tmp_path / "elsewhere")

    await inbox.append(b'{"n":2}\n')

    inbox.close()
    assert lines_of(inbox.folder) == [b'{"n":2}']
    assert stat.S_IMODE(inbox.folder.stat().st_mode) == 0o700


async def test_an_inbox_that_cannot_be_made_anew_takes_nothing(tmp_path):
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(b'{"n":1}\n')
    shutil.rmtree(inbox.folder)
    inbox.folder.write_text("in the way")

    with pytest.raises(InboxFull):
        await inbox.append(b'{"n":2}\n')
    inbox.folder.unlink()
    await inbox.append(b'{"n":3}\n')

    inbox.close()
    assert lines_of(inbox.folder) == [b'{"n":3}']


async def test_an_inbox_that_is_removed_while_it_is_written_is_written_again(tmp_path, monkeypatch):
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(b'{"n":1}\n')
    synced = inbox_module.SegmentFile.sync

    def removed(self: inbox_module.SegmentFile) -> bool:
        monkeypatch.undo()
        shutil.rmtree(inbox.folder)
        return synced(self)

    monkeypatch.setattr(inbox_module.SegmentFile, "sync", removed)
    await inbox.append(b'{"n":2}\n')

    inbox.close()
    assert lines_of(inbox.folder) == [b'{"n":2}']


async def test_a_closed_inbox_takes_nothing(tmp_path):
    inbox = Inbox(tmp_path / "inbox")
    inbox.close()

    with pytest.raises(InboxFull):
        await inbox.append(b"{}\n")


async def test_the_inbox_is_private(tmp_path):
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(b"{}\n")
    inbox.close()

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (inbox.folder, *inbox.folder.iterdir())}
    assert modes == {0o700, 0o600}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CollectorError, match="choose another folder with --inbox") as error:
        Inbox(tmp_path / "file" / "inbox")
    assert "\n" not in str(error.value)
