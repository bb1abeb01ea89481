"""A disk that is modelled over real files: it knows what was synced, so that a loss of power can take the rest.

What a cut leaves of a file is what a journalling file system may leave: everything that was synced, and of the rest any
part, with holes of zeros where a page was not written yet. A name is there for certain once its folder was synced. A
mark, which is renamed into its place unsynced, is the new one, an older one, empty, or missing; a segment that was
compressed is there plain, compressed, or both.
"""

from __future__ import annotations

import errno
import random
from pathlib import Path

from tinkertape.tape.forms import compressed_path, decompressed, plain_path
from tinkertape.tape.segment import Disk

PAGE = 512  # bytes


class ModelledDisk(Disk):
    """What one process has of the machine's disk; the files are real.

    `room`: bytes that still fit, None: any number. `dies_after`: so many bytes more, then its process is killed:
    nothing more of it reaches the disk. `refuses_sync`: as a disk that breaks does. `machine` says what is synced.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.room: int | None = None
        self.dies_after: int | None = None
        self.is_dead = False
        self.refuses_sync = False
        self._paths: dict[int, Path] = {}
        self._reserved: dict[int, int] = {}

    def open(self, path: Path) -> int:
        self._must_live()
        if self.room == 0:
            raise OSError(errno.ENOSPC, "the disk is full")
        file = super().open(path)
        self._paths[file] = path
        return file

    def write(self, file: int, data: bytes) -> int:
        self._must_live()
        if self.dies_after is not None:
            left = data[: self.dies_after]
            self.dies_after -= len(left)
            if len(left) < len(data):
                self.is_dead = True
            if not left:
                self._must_live()
            return super().write(file, left)
        allowed = len(data) if self.room is None else min(len(data), self.room)
        if not allowed:
            raise OSError(errno.ENOSPC, "the disk is full")
        if self.room is not None:
            self.room -= allowed
        return super().write(file, data[:allowed])

    def sync(self, file: int) -> None:
        self._must_live()
        if self.refuses_sync:
            raise OSError(errno.EIO, "the disk breaks")
        self.machine.synced[self._paths[file]] = self.size(file)

    def sync_folder(self, folder: Path) -> None:
        self._must_live()
        self.machine.named.update(path for path in folder.iterdir())

    def reserve(self, folder: Path) -> int:
        self._must_live()
        if self.room is not None:
            raise OSError(errno.ENOSPC, "the disk is full")
        return super().reserve(folder)

    def _must_live(self) -> None:
        if self.is_dead:
            raise OSError(errno.EIO, "its process was killed")


class Machine:
    """What is on the disk for certain: how many bytes of each file, and which names. `remember` after each step what
    the marks said; `cut_power` when no process of it is alive."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self.synced: dict[Path, int] = {}
        self.named: set[Path] = set()
        self._marks: dict[Path, list[bytes]] = {}

    def remember(self) -> None:
        for path in self._files(".ack", ".loaded-"):
            said = path.read_bytes()
            versions = self._marks.setdefault(path, [b""])
            if versions[-1] != said:
                versions.append(said)

    def cut_power(self, chance: random.Random) -> None:
        self.remember()
        for path in self._files(".jsonl.gz", ".jsonl.zst"):
            self._lose_compression(path, chance)
        for path in self._files(".jsonl"):
            if path.suffix == ".jsonl":
                self._lose_pages(path, chance)
        for path, versions in self._marks.items():
            if path.exists():
                _keep_or_lose(path, chance.choice(["missing", *versions]))
        self._marks.clear()

    def _files(self, *kinds: str) -> list[Path]:
        """In an order that a seed can rely on."""
        found = [path for folder in self.folders if folder.exists() for path in folder.rglob("*") if path.is_file()]
        return sorted(path for path in found if any(kind in path.name for kind in kinds) and path.name[0] != ".")

    def _lose_compression(self, path: Path, chance: random.Random) -> None:
        plain = plain_path(path)
        if plain in self.named and plain.exists():
            return
        match chance.randrange(3):
            case 0:  # neither rename nor removal came to the disk
                plain.write_bytes(_plain(path))
                path.unlink()
            case 1:
                plain.write_bytes(_plain(path))
                self.synced[plain] = plain.stat().st_size  # or its copy would be lost with a rename that is there
            case _:
                return

    def _lose_pages(self, path: Path, chance: random.Random) -> None:
        sure = self.synced.get(path, 0)
        data = path.read_bytes()
        if len(data) <= sure:
            return
        if not sure and path not in self.named and not compressed_path(path).exists() and chance.random() < 0.2:
            path.unlink()
            return
        kept = data[: chance.randint(sure, len(data))] if chance.random() < 0.7 else data
        if len(kept) > sure and chance.random() < 0.4:
            begin = chance.randrange(sure, len(kept))
            end = min(len(kept), (begin // PAGE + 1) * PAGE)
            kept = kept[:begin] + bytes(end - begin) + kept[end:]
        path.write_bytes(kept)


def _plain(compressed: Path) -> bytes:
    with compressed.open("rb") as file:
        return decompressed(file).read()


def _keep_or_lose(path: Path, said: bytes | str) -> None:
    if isinstance(said, str):
        path.unlink()
    else:
        path.write_bytes(said)
