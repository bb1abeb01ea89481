from __future__ import annotations

import pytest
from tests.bus.hearing import Heard

from tinkertape.bus import Bus


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def heard() -> Heard:
    return Heard()
