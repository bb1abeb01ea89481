"""The real SDK, training as it is told to, for the tests that hold what is said of it against the truth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.diagnosis.truth import Trainer


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    made = Trainer()
    yield made
    made.close()
