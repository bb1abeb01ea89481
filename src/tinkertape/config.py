"""Settings, folders and identities: where things are and what they are called.

Argument over environment over `[tool.tinkertape]` in `pyproject.toml` over default. Folders are 0700 and files 0600: a
tape holds what a program did.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
import tomllib
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tinkertape.errors import ConfigError, TapeError

MAX_BYTES_LEAST = 1_000_000  # with less a run's last seconds would not fit
ENVIRONMENT = {
    "directory": "TINKERTAPE_DIRECTORY",
    "url": "TINKERTAPE_URL",
    "key": "TINKERTAPE_KEY",
    "name": "TINKERTAPE_NAME",
    "run": "TINKERTAPE_RUN",
    "off": "TINKERTAPE_OFF",
    "redact_emails": "TINKERTAPE_REDACT_EMAILS",
}
OFF_VALUES = frozenset({"", "0", "false", "no", "off"})
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # ULID's alphabet: no I, L, O, U


class Settings(msgspec.Struct, frozen=True):
    """What `load_settings` found.

    `directory` holds `tapes/`, `inbox/` and `store/`. `url` is a collector's address, None: the tape waits for one.
    `run` is the id that a parent process handed down. `off` switches recording off altogether;
    `redact_emails` takes e-mail addresses out, too.
    """

    directory: Path
    url: str | None = None
    key: str | None = None
    name: str | None = None
    run: str | None = None
    off: bool = False
    redact_emails: bool = False

    @property
    def tapes(self) -> Path:
        return self.directory / "tapes"

    @property
    def inbox(self) -> Path:
        return self.directory / "inbox"

    @property
    def store(self) -> Path:
        return self.directory / "store"


def default_directory() -> Path:
    """The user's state folder for tinkertape (XDG base directories, `$XDG_STATE_HOME`)."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "tinkertape"


def load_settings(
    *, directory: str | Path | None = None, url: str | None = None, key: str | None = None, name: str | None = None
) -> Settings:
    """Settle every setting: argument, else environment, else `[tool.tinkertape]`, else default.

    `url=""` is no collector, whatever the environment says. Raises `ConfigError` for an address that is no http(s) URL,
    a directory that is a file, or a `pyproject.toml` that cannot be read as one.
    """
    found = _from_pyproject()
    for setting, variable in ENVIRONMENT.items():
        value = os.environ.get(variable)
        if value is not None and (value or setting == "off"):
            found[setting] = value
    for setting, argument in (("directory", directory), ("url", url), ("key", key), ("name", name)):
        if argument is not None:
            found[setting] = str(argument)
    address = found.get("url")
    if address and not _is_address(address):
        raise ConfigError(f"cannot use {address!r} as a collector's address: it must be http:// or https:// and a host")
    settings = Settings(
        directory=Path(found["directory"]).expanduser().absolute() if "directory" in found else default_directory(),
        url=address.rstrip("/") if address else None,
        key=found.get("key"),
        name=found.get("name"),
        run=found.get("run"),
        off=found.get("off", "").strip().lower() not in OFF_VALUES,
        redact_emails=found.get("redact_emails", "").strip().lower() not in OFF_VALUES,
    )
    if not settings.off:
        _check_folder(settings.tapes)
    return settings


def _is_address(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        return text.startswith(("http://", "https://")) and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False


def _check_folder(folder: Path) -> None:
    """Whoever reads would find nothing there, whoever writes could not; neither would say why."""
    found = next((place for place in (folder, *folder.parents) if os.access(place, os.F_OK)), folder)
    if found.is_file():
        raise ConfigError(f"cannot use {found}: it is a file, not a folder; set TINKERTAPE_DIRECTORY to a folder")


def _from_pyproject() -> dict[str, str]:
    path = Path("pyproject.toml")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path.absolute()}: {error}; mend it, or run elsewhere") from error
    table = document.get("tool", {}).get("tinkertape", {})
    unknown = sorted(set(table) - set(ENVIRONMENT)) if isinstance(table, dict) else ["tinkertape"]
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r} in [tool.tinkertape]; known are {', '.join(ENVIRONMENT)}")
    return {key: str(value) for key, value in table.items()}


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can read (0700), with those above it that do not exist yet.

    One that exists and is empty was made for us, and is tightened; one that holds something is not ours to close.
    """
    for folder in (*reversed(path.parents), path):
        folder.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if found.st_mode & 0o077 and found.st_uid == os.getuid() and not any(path.iterdir()):
        path.chmod(0o700)
    return path


def folder_to_record_into(folder: Path) -> None:
    """Make a run's folder now: who cannot record should hear it before the program has run for hours. Raises
    `TapeError`.
    """
    try:
        private_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TapeError(
            f"cannot record into {folder}: {reason}; set TINKERTAPE_DIRECTORY to a folder of yours"
        ) from error


def open_private(path: Path, flags: int) -> int:
    """Open a file descriptor for a file that only its owner can read (0600), created if `flags` say so, closed on
    exec.
    """
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def new_ulid() -> str:
    """A new run id: 48 bits of milliseconds and 80 random bits in Crockford's base 32, 26 characters that sort by
    time.
    """
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_run_id(text: str) -> bool:
    """Is this a run id of ours? Only such a text may become the name of a folder."""
    return len(text) == 26 and all(character in _CROCKFORD for character in text)


def new_process_id() -> str:
    """A new process id: 64 random bits, 16 hexadecimal digits; one a process, another after a fork."""
    return secrets.token_hex(8)


def event_id(process: str, index: int) -> str:
    """The id of an event of ours, derived from process and index: 32 hexadecimal digits in the shape of a UUID, the
    same whenever it is asked for.
    """
    return f"{process[:8]}-{process[8:12]}-{process[12:16]}-{index >> 48 & 0xFFFF:04x}-{index & 0xFFFF_FFFF_FFFF:012x}"


def process_started(pid: int) -> float | None:
    """When a process of this host began, in clock ticks since boot (Linux, /proc); None where that is unknown or no
    such process lives.

    The pid and this together name a process: a pid alone is used again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else float(fields[19])


def check_start(
    max_pending: int,
    max_bytes: int | None,
    flush_threshold: int,
    flush_interval_s: float,
    exit_timeout_s: float,
    durability: str,
    metadata: object,
    tags: object,
) -> None:
    """Refuse arguments of `start` that cannot be meant, before anything changes. Raises `ConfigError`."""
    least: dict[str, tuple[float, int]] = {
        "max_pending": (max_pending, 1),
        "max_bytes": (MAX_BYTES_LEAST if max_bytes is None else max_bytes, MAX_BYTES_LEAST),
        "flush_threshold": (flush_threshold, 1),
        "flush_interval_s": (flush_interval_s, 0),
        "exit_timeout_s": (exit_timeout_s, 0),
    }
    for name, (value, minimum) in least.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= minimum:
            raise ConfigError(f"cannot start with {name}={value!r}: it must be a number, {minimum} or more")
    if durability not in ("kill", "power"):
        raise ConfigError(f"cannot start with durability={durability!r}: use 'kill' or 'power'")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise ConfigError(f"cannot start with metadata={metadata!r}: it must be a dict")
    if tags is not None and (isinstance(tags, str) or not isinstance(tags, Sequence)):
        raise ConfigError(f"cannot start with tags={tags!r}: it must be a list of texts")
