"""Nothing public of the installed SDK's clients is overlooked: found by looking, not by a list."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import tinker
from tests.instrument.watching import Events

from tinkertape.instrument.tinker import importlib_bootstrap
from tinkertape.instrument.tinker.importlib_bootstrap import NO_OPERATIONS

CLIENTS = sorted(name for name in tinker.__all__ if name.endswith("Client"))


def functions(member: Any) -> Iterator[Any]:
    """A method's function, and the one below the SDK's warning that it is deprecated."""
    function = member.__func__ if isinstance(member, staticmethod) else member
    yield function
    if "arg" in function.__code__.co_freevars:
        yield inspect.getclosurevars(function).nonlocals["arg"]


def is_recorded(member: Any) -> bool:
    return any(function.__code__.co_filename == importlib_bootstrap.__file__ for function in functions(member))


def public(client: str) -> list[tuple[str, Any]]:
    client_class = getattr(tinker, client)
    names = [name for name in dir(client_class) if not name.startswith("_")]
    return [(name, inspect.getattr_static(client_class, name)) for name in names]


def test_the_clients_are_those_that_we_know() -> None:
    assert CLIENTS == ["AdminClient", "RestClient", "SamplingClient", "ServiceClient", "TrainingClient"]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_public_method_is_recorded_or_has_its_reason(client: str, events: Events) -> None:
    unseen = [name for name, member in public(client) if name not in NO_OPERATIONS and not is_recorded(member)]

    assert unseen == []


def test_every_reason_is_of_something_that_is_public() -> None:
    names = {name for client in CLIENTS for name, _ in public(client)}

    assert set(NO_OPERATIONS) - names == set()
