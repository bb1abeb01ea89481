"""What was received and is stored is compressed, kept for a while, then removed; what is not stored stays."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from tests.collector.conftest import ACCEPTED, Served, wire_body, wire_event
from tests.waiting import wait_until

from tinkertape.cli.group import commands
from tinkertape.collector.inbox import Inbox
from tinkertape.collector.keeping import Gone, Keep, Keeping, gone_from
from tinkertape.collector.tape_file import Progress, loaded_mark
from tinkertape.config import new_process_id, process_started
from tinkertape.tape.format import Header, encode_line
from tinkertape.tape.forms import compressed_path, open_stored
from tinkertape.tape.marks import write_mark

STORE = "0123456789abcdef"
DAY_S = 86_400
KEEP = Keep()
NOBODY = {"host": platform.node(), "pid": 2**22 + 1, "pid_started": 1.0}  # no such process


class MadeInbox:
    """An inbox's folder, segment by segment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def segment(self, *, age_s: float = 0, lines: int = 10, torn: bytes = b"", **about: object) -> Path:
        header = Header(run="inbox", process=new_process_id(), **{**NOBODY, **about})
        path = self.folder / f"{header.process}-00001.jsonl"
        line = b'{"pad":"%s"}\n' % (b"x" * 1_000)
        path.write_bytes(encode_line(header) + line * lines + torn)
        os.utime(path, (time.time() - age_s, time.time() - age_s))
        return path

    def loaded(self, segment: Path, *, missing: int = 0) -> Path:
        size = segment.read_bytes().rfind(b"\n") + 1 - missing
        write_mark(loaded_mark(segment, STORE), msgspec.structs.asdict(Progress(size, rows=10, set_aside=1)))
        return segment

    def tend(self, keep: Keep = KEEP) -> None:
        Keeping(self.folder, STORE, keep, current=lambda: self.folder / "mine-00001.jsonl").tend(time.time())

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def made(tmp_path: Path) -> MadeInbox:
    return MadeInbox(tmp_path / "inbox")


def test_a_loaded_segment_is_compressed_and_reads_as_before(made: MadeInbox):
    segment = made.loaded(made.segment())
    plain = segment.read_bytes()

    made.tend()

    assert not segment.exists()
    assert compressed_path(segment).stat().st_size < len(plain) / 10
    with open_stored(segment) as file:
        assert file.read() == plain
    assert gone_from(made.folder, STORE) == Gone()


@pytest.mark.parametrize("keep", [Keep(), Keep(0, 0)])
@pytest.mark.parametrize("missing", [1, 5_000, None])
def test_a_segment_that_is_not_loaded_to_its_end_is_never_touched(made: MadeInbox, keep, missing):
    segment = made.segment(age_s=400 * DAY_S)
    if missing is not None:
        made.loaded(segment, missing=missing)
    before = made.names()

    made.tend(keep)

    assert made.names() == before


def test_a_segment_that_is_still_written_is_never_touched(made: MadeInbox):
    pid = os.getpid()
    segment = made.loaded(made.segment(age_s=400 * DAY_S, pid=pid, pid_started=process_started(pid)))
    elsewhere = made.loaded(made.segment(age_s=3_600, host="elsewhere"))

    made.tend(Keep(0, 0))

    assert segment.exists() and elsewhere.exists()


def test_what_is_older_than_keep_goes_and_is_counted(made: MadeInbox):
    old = [made.loaded(made.segment(age_s=days * DAY_S)) for days in (31, 40)]
    young = made.loaded(made.segment(age_s=29 * DAY_S))

    made.tend()

    assert made.names() == {compressed_path(young).name, loaded_mark(young, STORE).name, "removed-01234567"}
    gone = gone_from(made.folder, STORE)
    assert (gone.segments, gone.events, gone.set_aside) == (2, 20, 2)
    assert gone.last in {segment.name for segment in old}


def test_beyond_keep_bytes_the_oldest_go_first(made: MadeInbox):
    segments = [made.loaded(made.segment(age_s=age)) for age in (30, 20, 10)]
    size = segments[0].stat().st_size

    made.tend(Keep(most_bytes=2 * size))

    assert [compressed_path(segment).exists() for segment in segments] == [False, True, True]


def test_a_torn_last_line_keeps_nothing_for_ever(made: MadeInbox):
    old = made.loaded(made.segment(age_s=31 * DAY_S, torn=b'{"half":'))
    young = made.loaded(made.segment(torn=b'{"half":'))

    made.tend()

    assert (old.exists(), young.exists()) == (False, True)


def test_a_removal_that_was_cut_off_is_counted_once(made: MadeInbox, monkeypatch):
    segment = made.loaded(made.segment(age_s=31 * DAY_S))
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda path, missing_ok=False: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made.tend()

    made.tend()

    assert not segment.exists()
    assert gone_from(made.folder, STORE).segments == 1


async def test_a_slow_inbox_begins_a_new_segment_each_day(tmp_path, monkeypatch):
    inbox = Inbox(tmp_path / "inbox")
    await inbox.append(b'{"n":1}\n')
    first = inbox.current
    inbox._segment_began_s -= DAY_S + 1

    await inbox.append(b'{"n":2}\n')

    inbox.close()
    assert inbox.current != first
    assert b'{"n":1}' in first.read_bytes() and b'{"n":2}' in inbox.current.read_bytes()


def test_a_collector_compresses_what_the_one_before_received(collector: Served, session):
    collector.start()
    assert collector.post(wire_body(session, [wire_event(index) for index in range(50)])) == ACCEPTED
    before = collector.settled(session, 50)
    collector.stop()

    collector.start()

    wait_until(lambda: list(collector.inbox.glob("*.jsonl.zst")), within_s=30)
    assert list(collector.inbox.glob("*.jsonl")) == []
    assert collector.ledger(session) == before
    assert len(collector.events(session)) == 50


@pytest.mark.parametrize("text", ["30", "d", "3 d", "-1d", "1.5d", "٣d", ""])
def test_a_time_that_is_none_is_one_line(text):
    answer = CliRunner().invoke(commands, ["serve", "--keep", text])

    assert answer.exit_code == 2
    assert "is no time: use a whole number and one of s, m, h, d, w, as 30d" in answer.output
