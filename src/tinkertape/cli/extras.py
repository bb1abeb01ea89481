"""Commands that need more than the command line's own install say in one line what to install."""

from __future__ import annotations

import importlib.util

from tinkertape.errors import TinkertapeError

SERVER = ("starlette", "uvicorn", "chdb", "clickhouse_connect", "jinja2")
SIMULATED_SERVICE = ("starlette", "uvicorn", "numpy")
TOUR = ("tinker", *SERVER, "numpy")


class NotInstalled(TinkertapeError):
    """A command needs an extra that is not installed."""


def must_be_installed(what: str, modules: tuple[str, ...], extra: str) -> None:
    """Raises `NotInstalled` when a module of an extra cannot be found."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise NotInstalled(f'{what} needs {", ".join(missing)}, not installed here; pip install "tinkertape[{extra}]"')
