"""A handler that remembers what it was called with."""

from __future__ import annotations

from typing import Any


class Heard(list[tuple[Any, ...]]):
    """Calls, as (event, measurements, metadata, config)."""

    def __call__(self, event: str, measurements: Any, metadata: Any, config: Any) -> None:
        self.append((event, measurements, metadata, config))

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self]

    def metadata_of(self, event: str) -> Any:
        [metadata] = [call[2] for call in self if call[0] == event]
        return metadata

    def measurements_of(self, event: str) -> Any:
        [measurements] = [call[1] for call in self if call[0] == event]
        return measurements


def fail(event: str, measurements: Any, metadata: Any, config: Any) -> None:
    """A handler that raises."""
    raise ValueError("got an event")
