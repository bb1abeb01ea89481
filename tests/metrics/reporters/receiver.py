"""A daemon's socket, and strict readers of what comes to it, written from the published formats.

DogStatsD: docs.datadoghq.com, "Datagram Format and Shell Usage" (protocol v1.1). StatsD: the README of statsd/statsd.
What these readers refuse, an agent may still take in its own way: refusing is what makes them of use here.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

NUMBER = r"-?\d+(?:\.\d+)?"
RATE = r"(?:\|@(?P<rate>0\.\d+))?"
DATADOG = re.compile(
    rf"(?P<name>[A-Za-z][A-Za-z0-9_.\-]*):(?P<values>{NUMBER}(?::{NUMBER})*)\|(?P<type>[cghd]|ms){RATE}(?:\|#(?P<tags>.*))?\Z"
)
STANDARD = re.compile(rf"(?P<name>[A-Za-z0-9_.\-]+):(?P<values>[+]?{NUMBER})\|(?P<type>[cg]|ms){RATE}\Z")


class Sample(NamedTuple):
    """One line."""

    name: str
    values: tuple[float, ...]
    type: str
    rate: float = 1.0
    tags: tuple[tuple[str, str], ...] = ()
    text: str = ""


def samples_of(packets: Iterable[bytes], formatter: str) -> list[Sample]:
    """Every line of these packets. Raises `ValueError` for the first that is none."""
    read = datadog if formatter == "datadog" else standard
    return [read(line) for packet in packets for line in packet.decode("utf-8").split("\n")]


def datadog(line: str) -> Sample:
    """One line of DogStatsD's."""
    found = DATADOG.match(line)
    if found is None or len(line.splitlines()) != 1:
        raise ValueError(f"no line of DogStatsD: {line!r}")
    tags: list[tuple[str, str]] = []
    if found["tags"] is not None:
        for tag in found["tags"].split(","):
            key, colon, value = tag.partition(":")
            if not key or not colon or set(value) & set("|#@\n"):
                raise ValueError(f"no tag: {tag!r} in {line!r}")
            tags.append((key, value))
    values = tuple(map(float, found["values"].split(":")))
    return Sample(found["name"], values, found["type"], float(found["rate"] or 1), tuple(tags), line)


def standard(line: str) -> Sample:
    """One line of StatsD's; `text` tells a change of a gauge from a value."""
    found = STANDARD.match(line)
    if found is None or ".." in found["name"] or (found["type"] == "ms" and found["values"][0] in "+-"):
        raise ValueError(f"no line of StatsD: {line!r}")
    return Sample(found["name"], (float(found["values"]),), found["type"], float(found["rate"] or 1), (), line)


def gauge_after(before: float | None, value: str) -> float:
    """A gauge of the standard dialect after a line with this value: a sign makes it a change."""
    return (before or 0.0) + float(value) if value[0] in "+-" else float(value)


class Receiver:
    """A bound datagram socket: UDP on loopback, or a path. Closed at the end of a `with`."""

    def __init__(
        self, *, path: Path | None = None, port: int = 0, host: str = "127.0.0.1", room: int = 4 << 20
    ) -> None:
        family = socket.AF_UNIX if path else socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.bind(str(path) if path else (host, port))
        self.socket.settimeout(10)
        self.port = 0 if path else self.socket.getsockname()[1]

    def read(self) -> list[bytes]:
        """The datagrams that are there: on one machine, all that the sender's system calls have returned from."""
        packets: list[bytes] = []
        self.socket.setblocking(False)
        try:
            while True:
                packets.append(self.socket.recv(65_536))
        except BlockingIOError:
            return packets
        finally:
            self.socket.settimeout(10)

    def wait(self) -> bytes:
        """The next datagram."""
        return self.socket.recv(65_536)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
