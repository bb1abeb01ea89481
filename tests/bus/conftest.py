from __future__ import annotations

import pytest
from tests.bus.hearing import Heard

from tinkertape.bus import Bus


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def heard(bus: Bus) -> Heard:
    """All that is executed on `bus`."""
    heard = Heard()
    bus.attach_all("heard", heard)
    return heard
