"""Sources: what happens in the program, as events on the bus.

A source is named after what it watches. It patches from outside, can be undone, and lets no error of its own through.
`tinker` watches the Tinker SDK, `httpx` and `requests` the exchanges of any other, `logging` the records of the
program's loggers, `exceptions` what nobody catches, `process` the process itself, `clock` lets time pass, a `Poller`
measures again and again; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinkertape.instrument import clock as clock
    from tinkertape.instrument import exceptions as exceptions
    from tinkertape.instrument import httpx as httpx
    from tinkertape.instrument import logging as logging
    from tinkertape.instrument import process as process
    from tinkertape.instrument import requests as requests
    from tinkertape.instrument import tinker as tinker

_SOURCES = ("clock", "exceptions", "httpx", "logging", "process", "requests", "tinker")


def __getattr__(name: str) -> Any:
    """Import a source when it is first used."""
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SOURCES})
