"""Which version of tinkertape this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_here() -> str:
    """The installed version; `0` for a checkout that was never installed."""
    try:
        return version("tinkertape")
    except PackageNotFoundError:
        return "0"
