"""Put on and taken off: `install` patches what is imported, and the rest when it gets imported. Never imports the SDK.

`AsyncAPIClient`, `_APIFuture` and the others are patched in place, so the order of imports does not matter. A finder on
`sys.meta_path` waits for those modules that are not there yet, and patches each as soon as it has run.

Threads  `_lock` is held by `install`, `uninstall`, and while one module is patched.
Fork     the patches stay; nothing of the parent's is under way in the child.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, get_args

from tinkertape.guard import failures, forget_failures, guard, guarded
from tinkertape.instrument.patches import Patches
from tinkertape.instrument.tinker import (
    attempts,
    base_models,
    claims,
    flight,
    importlib_bootstrap,
    loop,
    requests,
    retries,
    sdk_events,
    starvation,
    submissions,
    waits,
)
from tinkertape.instrument.tinker import content as told_content

_PLACES = "instrument.tinker."
_lock = threading.RLock()
_patches = Patches()
_patched: set[str] = set()


def install(*, content: bool | None = None, sdk_telemetry: sdk_events.Destination | None = None) -> None:
    """Watch the Tinker SDK: now if it is imported, else when it gets imported.

    `content=True` tells prompts and tokens themselves, as `tinker.content`; without it no event carries any.
    `sdk_telemetry` says where the SDK's own telemetry goes: "service", as it is; "tape", only to whoever records it
    here; "nowhere", it is off at its source. A second call changes only what it is given. Raises `ValueError` for
    another destination, and nothing else. Any thread. Source: facts/sdk.md §4, facts/partition.md §1 and §4.
    """
    if sdk_telemetry not in (None, *get_args(sdk_events.Destination)):
        raise ValueError(f"unknown destination {sdk_telemetry!r}: use 'service', 'tape' or 'nowhere'")
    with _lock:
        if content is not None:
            told_content.is_wanted = content
        if sdk_telemetry is not None:
            sdk_events.destination = sdk_telemetry
        if _finder in sys.meta_path:
            return
        for place in {place for place, _ in failures() if place.startswith(_PLACES)}:
            forget_failures(place)
        flight.is_watching = True
        sys.meta_path.insert(0, _finder)
        for name in _SEAMS:
            module = sys.modules.get(name)
            if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
                _patch(module)
        client_module = sys.modules.get("tinker._base_client")
        if client_module is not None and _loop_runs():
            attempts.watch_existing_clients(client_module.AsyncAPIClient)


def uninstall() -> None:
    """Give the SDK back every object that was replaced. What is under way is no longer told. Any thread."""
    with _lock:
        if _finder in sys.meta_path:
            sys.meta_path.remove(_finder)
        flight.is_watching = False
        _patches.restore()
        _patched.clear()
        loop.unwatch()
        waits.stop()
        told_content.is_wanted, sdk_events.destination = False, "service"
        starvation.forget()
        base_models.forget()
        flight.forget_all()


def _loop_runs() -> bool:
    """Has the SDK started its loop? Before that it has no client."""
    holder_module = sys.modules.get("tinker.lib.internal_client_holder")
    singleton = getattr(holder_module, "_internal_client_holder_thread_singleton", None)
    return getattr(singleton, "_loop", None) is not None


def _patch(module: ModuleType) -> None:
    with _lock:
        if module.__name__ in _patched:
            return
        _patched.add(module.__name__)
        for class_name, put_on in _SEAMS[module.__name__]:
            with guarded(f"{_PLACES}install"):
                found = vars(module).get(class_name)
                if found is not None:
                    put_on(found, _patches)


def _operations_of(family: str) -> Callable[[Any, Patches], None]:
    return lambda client_class, patches: importlib_bootstrap.put_on(client_class, family, patches)


_Seam = tuple[str, Callable[[Any, Patches], None]]
_PUBLIC = "tinker.lib.public_interfaces"
_SEAMS: dict[str, tuple[_Seam, ...]] = {
    "tinker._base_client": (("AsyncAPIClient", attempts.put_on), ("AsyncAPIClient", retries.put_on)),
    "tinker.lib.telemetry": (("Telemetry", sdk_events.put_on),),
    "tinker.lib.internal_client_holder": (("InternalClientHolder", submissions.put_on),),
    "tinker.lib.api_future_impl": (
        ("_APIFuture", requests.put_on),
        ("_APIFuture", claims.put_on),
        ("_CombinedAPIFuture", claims.put_on),
    ),
    "tinker.lib.backcompat_concurrent_future": (("_AwaitableFutureCompatWrapper", claims.put_on),),
    f"{_PUBLIC}.api_future": (("AwaitableConcurrentFuture", claims.put_on),),
    f"{_PUBLIC}.service_client": (("ServiceClient", _operations_of("service")),),
    f"{_PUBLIC}.training_client": (("TrainingClient", _operations_of("training")),),
    f"{_PUBLIC}.sampling_client": (("SamplingClient", _operations_of("sampling")),),
    f"{_PUBLIC}.rest_client": (("RestClient", _operations_of("rest")),),
    f"{_PUBLIC}.admin_client": (("AdminClient", _operations_of("admin")),),
}
"""Module → class → what is put on it. A name that a version lacks is passed over."""


class _Finder:
    """Waits for the SDK's modules; finds them as the others do, and patches each once it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _SEAMS:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                _patch_when_run(spec)
                return spec
        return None


@guard(f"{_PLACES}import")
def _patch_when_run(spec: ModuleSpec) -> None:
    """The loader stays who it is: only its `exec_module` is replaced, on this one instance, for one run."""
    loader = spec.loader
    if loader is None:
        return
    exec_module = loader.exec_module

    @functools.wraps(exec_module)
    def exec_and_patch(module: ModuleType) -> None:
        vars(loader).pop("exec_module", None)
        exec_module(module)
        _patch(module)

    loader.exec_module = exec_and_patch  # type: ignore[method-assign]


_finder = _Finder()
