"""Which release of the SDK runs here, without importing it."""

from __future__ import annotations

import sys


def sdk_version() -> str | None:
    """The imported SDK's own version; None before it is imported. Any thread."""
    return getattr(sys.modules.get("tinker"), "__version__", None)
