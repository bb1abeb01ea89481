"""What stands in the place of the SDK's public methods: the frames of ours between the program and them.

The name is for `warnings`, which passes over every frame whose file is named after "importlib" and "_bootstrap", the
import system's: a method that warns two frames up (`stacklevel=2`) warns at the user's line, as without us. Deprecated
methods are wrapped below their warning, which counts another way (PEP 702). No frame of ours is in what they raise.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from tinkertape.events import SpanEvents, operation_events
from tinkertape.instrument.patches import Patches, passing_on
from tinkertape.instrument.tinker.operations import adopt, awaited, began, leave, raised, returned

Method = Callable[..., Any]

NO_OPERATIONS = {
    "get_telemetry": "the SDK calls it itself, for every exception",
    "on_queue_state_change": "the SDK calls it itself, for every poll",
    "get_console_url": "a piece of text",
    "create": "of SamplingClient: the SDK's own way to make one, inside create_sampling_client",
    "holder": "no method: the SDK's own object",
}
"""Public names of the clients that are no operation, and why."""


def put_on(client_class: type, family: str, patches: Patches) -> None:
    """Watch the public methods that a client class defines itself, static ones too."""
    for name, member in list(vars(client_class).items()):
        if name.startswith("_") or name in NO_OPERATIONS or not isinstance(member, (FunctionType, staticmethod)):
            continue
        operation = name.removesuffix("_async")
        wrap = functools.partial(_watched, events=operation_events(family, operation), name=operation)
        if isinstance(member, staticmethod):
            patches.replace(client_class, name, functools.partial(_watched_static, client_class, wrap))
        elif hasattr(member, "__deprecated__"):
            _put_below_warning(member, wrap, patches)
        else:
            patches.replace(client_class, name, wrap)


def _put_below_warning(deprecated: FunctionType, wrap: Callable[[Method], Method], patches: Patches) -> None:
    """`deprecated` warns a fixed number of frames up, so it stays outermost and calls ours in place of the method."""
    if "arg" in deprecated.__code__.co_freevars:  # the name in PEP 702's wrapper, as the SDK itself relies on it
        patches.replace_in_cell(deprecated, "arg", wrap)


def _watched_static(
    client_class: type, wrap: Callable[[Method], Method], original: staticmethod[..., Any]
) -> staticmethod[..., Any]:
    """A method without a client: the class stands for one."""
    function = original.__func__

    @functools.wraps(function)
    def without_client(_class: type, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            passing_on(error)
            raise

    watched = wrap(without_client)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return watched(client_class, *args, **kwargs)
        except BaseException as error:
            passing_on(error)
            raise

    return staticmethod(call)


def _watched(method: Method, events: SpanEvents, name: str) -> Method:
    if inspect.iscoroutinefunction(inspect.unwrap(method)):
        return _watched_async(method, events, name)

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = began(events, name, self, args, kwargs, is_coroutine=False)
        try:
            result = method(self, *args, **kwargs)
        except BaseException as error:
            passing_on(error)
            if begun is not None:
                raised(begun[0], error)
            raise
        finally:
            if begun is not None:
                leave(*begun)
        if begun is None:
            adopt(name, result)
        else:
            returned(begun[0], result)
        return result

    return call


def _watched_async(method: Method, events: SpanEvents, name: str) -> Method:
    @functools.wraps(method)
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = began(events, name, self, args, kwargs, is_coroutine=True)
        try:
            result = await method(self, *args, **kwargs)
        except BaseException as error:
            passing_on(error)
            if begun is not None:
                awaited(begun[0], error)
                raised(begun[0], error)
            raise
        finally:
            if begun is not None:
                leave(*begun)
        if begun is not None:
            awaited(begun[0], None)
            returned(begun[0], result)
        return result

    return call
