"""A bus of the test's own."""

from __future__ import annotations

import pytest

from tinkertape.bus import Bus


@pytest.fixture
def bus():
    return Bus()
