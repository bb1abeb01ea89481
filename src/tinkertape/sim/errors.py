"""What goes wrong in the simulated service, before it runs (`SimError`) and in a request (`RequestRefused`,
`RequestFailed`).
"""

from __future__ import annotations

from typing import Literal

Category = Literal["user", "server", "unknown"]


class SimError(Exception):
    """The service cannot start: one line that says what, why, and what to do."""


class RequestRefused(Exception):
    """A request is answered with this HTTP status, and no promise is made."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RequestFailed(Exception):
    """A promise ends in failure; the category says whose mistake it was, in Tinker's words."""

    def __init__(self, message: str, category: Category = "user") -> None:
        super().__init__(message)
        self.message = message
        self.category = category
