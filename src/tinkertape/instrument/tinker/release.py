"""Which release of the SDK runs here, without importing it."""

from __future__ import annotations

import importlib.metadata
import sys


def sdk_version() -> str | None:
    """The imported SDK's own version; None before it is imported. Any thread."""
    return getattr(sys.modules.get("tinker"), "__version__", None)


def installed_release() -> str:
    """The same of the SDK that is installed, whether or not it is imported; empty where there is none."""
    try:
        return importlib.metadata.version("tinker")
    except importlib.metadata.PackageNotFoundError:
        return ""
