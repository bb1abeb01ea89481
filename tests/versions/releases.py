"""The SDK's releases that we are held against: the newest patch of each minor from 0.6 on, pinned with its hash.

Each is installed alone, without its dependencies, in a folder of the cache: `TT_SDK_CACHE`, else `tinkertape/sdks` in
the user's cache folder. It is put before the one in .venv, whose dependencies it shares. A new release is a line in
releases.txt (`uv pip compile --no-deps --generate-hashes` writes it).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
AT_ONCE = 4
SAMPLE = ("0.6.3", "0.24.1", "0.36.0", "0.38.0")
"""What `./tt test` runs: the oldest, which knows JSON only; the last that writes JSON, and reads protobuf; the last
with the old futures; the newest."""


class NotToBeHad(Exception):
    """A release is not in the cache, and could not be installed: the installer's last line."""


@dataclass(frozen=True)
class Release:
    version: str
    requirement: str  # with its hash

    @property
    def asks_for_config(self) -> bool:
        """From 0.18 on a service may tell its clients how to work."""
        return int(self.version.split(".")[1]) >= 18

    @property
    def needs_grpc(self) -> bool:
        """0.21 imports grpc, for a way to poll that a service must switch on."""
        return self.version.startswith("0.21.")


def releases() -> list[Release]:
    """All, oldest first."""
    text = (HERE / "releases.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.startswith("tinker==")]
    return [Release(line.split()[0].removeprefix("tinker=="), line) for line in lines]


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TT_SDK_CACHE") or Path(base) / "tinkertape" / "sdks")


def folder_of(release: Release) -> Path:
    return cache() / f"tinker-{release.version}"


def grpc_folder() -> Path:
    return cache() / f"grpcio-{sys.implementation.cache_tag}"


def install(wanted: Sequence[Release], *, within_s: float) -> Iterator[Release]:
    """Install what the cache lacks, some at once, and yield each as it is there. Raises `NotToBeHad`."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = {pool.submit(_install, release, within_s): release for release in wanted}
        for done in as_completed(under_way):
            done.result()
            yield under_way[done]


def _install(release: Release, within_s: float) -> None:
    _install_into(folder_of(release), release.requirement, within_s)
    if release.needs_grpc:
        _install_into(grpc_folder(), (HERE / "grpcio.txt").read_text(encoding="utf-8"), within_s)


def _install_into(folder: Path, requirement: str, within_s: float) -> None:
    """Whole or not at all: a folder has its name only when all is in it. Two runs at once do not meet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(f"{folder.suffix}.lock")):
        if folder.exists():
            return
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        pinned = folder.with_name(f"{folder.name}.txt")
        pinned.write_text(requirement + "\n", encoding="utf-8")
        command = [*_installer(), "--no-deps", "--require-hashes", "--target", str(part), "-r", str(pinned)]
        environment = {"UV_HTTP_RETRIES": "1", **os.environ}  # no index: said at once
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=within_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise NotToBeHad(f"{folder.name} was not installed within {within_s:.0f} s") from error
        finally:
            pinned.unlink()
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise NotToBeHad(f"{folder.name} cannot be installed: {words[-1] if words else 'no word why'}")
        part.rename(folder)


def _installer() -> list[str]:
    uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    if uv is None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    return [uv, "pip", "install", "--native-tls", "--quiet", "--python", sys.executable]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
