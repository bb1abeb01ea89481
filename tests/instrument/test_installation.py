"""On and off: before and after the import, twice, and back to the very same objects."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tinker
from tests.instrument.watching import MODEL, QUICK, SECRET, Events, adam, prompt, run_program, service_client
from tinker._base_client import AsyncAPIClient
from tinker.lib.api_future_impl import _APIFuture
from tinker.lib.internal_client_holder import InternalClientHolder
from tinker.lib.public_interfaces.training_client import TrainingClient
from tinker.lib.telemetry import Telemetry

from tinkertape import bus
from tinkertape.instrument import tinker as source
from tinkertape.sim import Sim

StartService = Callable[..., Sim]

CLASSES = {
    "tinker._base_client": ["AsyncAPIClient"],
    "tinker.lib.telemetry": ["Telemetry"],
    "tinker.lib.internal_client_holder": ["InternalClientHolder"],
    "tinker.lib.api_future_impl": ["_APIFuture", "_CombinedAPIFuture"],
    "tinker.lib.backcompat_concurrent_future": ["_AwaitableFutureCompatWrapper"],
    "tinker.lib.public_interfaces.api_future": ["AwaitableConcurrentFuture"],
    "tinker.lib.public_interfaces.service_client": ["ServiceClient"],
    "tinker.lib.public_interfaces.training_client": ["TrainingClient"],
    "tinker.lib.public_interfaces.sampling_client": ["SamplingClient"],
    "tinker.lib.public_interfaces.rest_client": ["RestClient"],
    "tinker.lib.public_interfaces.admin_client": ["AdminClient"],
}


def members() -> Iterator[tuple[str, Any]]:
    """Every attribute of every class that is patched, and what its deprecated methods close over."""
    for module, names in CLASSES.items():
        for name in names:
            for attribute, member in vars(getattr(sys.modules[module], name)).items():
                yield f"{name}.{attribute}", member
                if inspect.isfunction(member):
                    for cell in member.__closure__ or ():
                        yield f"{name}.{attribute} cell", cell.cell_contents


def test_uninstall_gives_back_the_very_same_objects() -> None:
    finders = list(sys.meta_path)
    before = list(members())

    source.install()
    during = [member for _, member in members()]
    source.uninstall()

    after = list(members())
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(now is then for (_, now), (_, then) in zip(after, before, strict=True))
    assert sum(now is not then for now, then in zip(during, [member for _, member in before], strict=False)) > 60
    assert sys.meta_path == finders


def test_a_second_install_or_uninstall_changes_nothing() -> None:
    source.install()
    once = [member for _, member in members()]
    source.install()
    assert all(now is then for now, then in zip([member for _, member in members()], once, strict=True))
    source.uninstall()
    source.uninstall()


def test_clients_made_before_install_are_watched_and_let_go(start_service: StartService) -> None:
    service = service_client(start_service())
    training = service.create_lora_training_client(base_model=MODEL).result()
    clients = [client._client for pool in training.holder._client_pools.values() for client in pool._clients]
    heard = Events()
    bus.attach_all("late", heard.hear)

    source.install()
    training.optim_step(adam()).result()
    source.uninstall()

    assert heard.one("tinker.http.request.stop", path="/api/v1/optim_step").metadata["operation"] == "optim_step"
    assert all("send" not in vars(client) and client.event_hooks["response"] == [] for client in clients)
    heard.clear()
    training.optim_step(adam()).result()
    bus.detach("late")
    assert heard == []
    service.close("success").result()


@pytest.mark.parametrize("dress", [lambda _: lambda function: function, functools.wraps], ids=["plain", "wraps"])
def test_what_the_program_put_over_a_send_of_ours_stays_and_all_else_is_given_back(
    start_service: StartService, dress: Callable[[Any], Callable[[Any], Any]]
) -> None:
    before, heard = [member for _, member in members()], Events()
    bus.attach_all("over", heard.hear)
    source.install()
    service = service_client(start_service())
    training = service.create_lora_training_client(base_model=MODEL).result()
    clients = [client._client for pool in training.holder._client_pools.values() for client in pool._clients]
    sent = []
    for client in clients:

        @dress(client.send)
        async def send(request: Any, below: Any = client.send, **kwargs: Any) -> Any:
            sent.append(request)
            return await below(request, **kwargs)

        client.send = send

    source.uninstall()
    heard.clear()
    training.optim_step(adam()).result()
    service.close("success").result()
    bus.detach("over")

    assert all(now is then for (_, now), then in zip(members(), before, strict=True))
    assert sent and heard == []
    assert all(vars(client)["send"].__code__ is send.__code__ for client in clients)
    assert all(client.event_hooks["response"] == [] for client in clients)


def test_methods_of_ours_that_the_program_wrapped_tell_nothing_once_uninstalled(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Events()
    bus.attach_all("over", heard.hear)
    wrapped = [
        (TrainingClient, "optim_step"),
        (AsyncAPIClient, "__init__"),
        (InternalClientHolder, "execute_with_retries"),
        (_APIFuture, "__init__"),
        (Telemetry, "_log"),
    ]
    for owner, name in wrapped:
        monkeypatch.setattr(owner, name, vars(owner)[name])  # what is back in the end
    source.install()
    for owner, name in wrapped:
        ours = vars(owner)[name]
        monkeypatch.setattr(owner, name, functools.wraps(ours)(lambda *a, _ours=ours, **k: _ours(*a, **k)))

    source.uninstall()
    service = service_client(start_service())
    training = service.create_lora_training_client(base_model=MODEL).result()
    training.optim_step(adam()).result()
    clients = [client._client for pool in training.holder._client_pools.values() for client in pool._clients]
    service.close("success").result()
    bus.detach("over")

    assert heard == []
    assert clients and all("send" not in vars(client) for client in clients)


def test_what_is_under_way_at_uninstall_goes_on_untold(start_service: StartService, events: Events) -> None:
    service = service_client(start_service(compute_s={**QUICK["compute_s"], "OptimStep": 0.2}))
    training = service.create_lora_training_client(base_model=MODEL).result()
    pending = training.optim_step(adam())

    source.uninstall()

    assert pending.result() is not None
    assert source.in_flight() == 0 and not events.named("tinker.training.optim_step.stop")
    service.close("success").result()


PROGRAM = """
import sys
before = [name for name in sys.modules if name.split(".")[0] in ("tinker", "httpx", "pydantic")]
heard = set()
from tinkertape import bus
bus.attach_all("test2", lambda name, *rest: heard.add(name))
import tinker
service = tinker.ServiceClient()
training = service.create_lora_training_client(base_model="simulated/bytes-bigram").result()
training.optim_step(tinker.AdamParams(learning_rate=0.1)).result()
service.close("success").result()
loader = tinker._base_client.__loader__
print(before, len(heard), type(loader).__name__, "exec_module" in vars(loader))
"""


def test_install_before_the_import_watches_all_and_imports_nothing(start_service: StartService, tmp_path: Path) -> None:
    done = run_program(PROGRAM, start_service(), tmp_path, watched=True)

    before, _, rest = done.stdout.partition("] ")
    count, loader, replaced = rest.split()
    assert before == "[" and int(count) >= 20, done
    assert (loader, replaced) == ("SourceFileLoader", "False")


def test_a_broken_sdk_is_passed_over(monkeypatch: pytest.MonkeyPatch, events: Events) -> None:
    source.uninstall()
    monkeypatch.delattr("tinker.lib.api_future_impl._APIFuture")
    monkeypatch.delattr("tinker.lib.telemetry.Telemetry._log")

    source.install()

    assert tinker.TrainingClient.optim_step.__code__.co_filename.endswith("importlib_bootstrap.py")
    assert SECRET not in repr(events)


def test_a_client_with_work_under_way_at_uninstall_still_closes(start_service: StartService, events: Events) -> None:
    service = service_client(start_service(compute_s={**QUICK["compute_s"], "Sample": 0.5}))
    sampling = service.create_sampling_client(base_model=MODEL).result()
    for _ in range(20):
        sampling.sample(prompt(), 1, tinker.SamplingParams(max_tokens=2))

    source.uninstall()

    service.close("success").result(20)
    assert source.in_flight() == 0 and not events.named("tinker.sampling.sample.stop")
