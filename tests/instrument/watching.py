"""What the tests of the SDK's source share: heard events, and a service on a real socket."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import tinker
from tests.waiting import wait_until
from tinker import types

from tinkertape import bus
from tinkertape.guard import forget_failures
from tinkertape.sim import Scenario, Sim

SECRET = "tml-plantedsecret0123456789"
MODEL = "simulated/bytes-bigram"
QUICK: dict[str, Any] = {
    "compute_s": {"CreateModel": 0.0, "ForwardBackward": 0.02, "OptimStep": 0.01, "Sample": 0.02, "SaveWeights": 0.01},
    "poll_hold_s": 0.2,
}


class Heard(NamedTuple):
    name: str
    measurements: dict[str, Any]
    metadata: dict[str, Any]


class Events(list[Heard]):
    """Every event since the source was installed, in the order executed."""

    def hear(self, name: str, measurements: Any, metadata: Any, config: Any) -> None:
        self.append(Heard(name, dict(measurements), dict(metadata)))

    def named(self, name: str, **metadata: Any) -> list[Heard]:
        """Those of one name whose metadata has these values."""
        return [e for e in self if e.name == name and all(e.metadata.get(k) == v for k, v in metadata.items())]

    def one(self, name: str, **metadata: Any) -> Heard:
        """The only one of its name; it may still be on its way from the SDK's loop."""
        wait_until(lambda: self.named(name, **metadata), within_s=5, otherwise=lambda: [event.name for event in self])
        found = self.named(name, **metadata)
        assert len(found) == 1, f"{len(found)} events {name} {metadata}: {[e.name for e in self]}"
        return found[0]


class Source(Protocol):
    def install(self) -> None: ...

    def uninstall(self) -> None: ...


@contextlib.contextmanager
def installed(source: Source) -> Iterator[Events]:
    """While inside, the source is installed and every event is heard; failures of our hooks are counted from here."""
    heard = Events()
    forget_failures()
    bus.attach_all("test", heard.hear)
    source.install()
    yield heard
    source.uninstall()
    bus.detach("test")


StartService = Callable[..., Sim]


def scenario(**changes: Any) -> Scenario:
    return Scenario(**{**QUICK, **changes})


def service_client(sim: Sim) -> tinker.ServiceClient:
    return tinker.ServiceClient(base_url=sim.url, api_key=SECRET)


def batch(datums: int = 3, tokens: int = 4) -> list[types.Datum]:
    targets = list(range(1, tokens + 1))
    return [
        types.Datum(
            model_input=types.ModelInput.from_ints(list(range(tokens))),
            loss_fn_inputs={"target_tokens": targets, "weights": [1.0] * tokens},
        )
        for _ in range(datums)
    ]


def adam() -> types.AdamParams:
    return types.AdamParams(learning_rate=1e-2)


def prompt(tokens: int = 3) -> types.ModelInput:
    return types.ModelInput.from_ints(list(range(1, tokens + 1)))


def ends(events: Iterable[Heard]) -> list[Heard]:
    return [event for event in events if event.name.endswith((".stop", ".exception"))]


def run_program(
    program: str, sim: Sim, folder: Path, *, watched: bool, flags: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter, with or without the source; its file has the same name both times."""
    script = folder / "program.py"
    if not script.exists():
        script.write_text(program)
    site = folder / ("watched" if watched else "plain")
    site.mkdir(exist_ok=True)
    on = "from tinkertape.instrument import tinker as source\nfrom tinkertape import bus\n"
    on += "bus.attach_all('test', lambda *a: None)\nsource.install()\n"
    (site / "sitecustomize.py").write_text(on if watched else "")
    environment = {
        **os.environ,
        "TINKER_API_KEY": SECRET,
        "TINKER_BASE_URL": sim.url,
        "PYTHONPATH": str(site),
        "PYTHONHASHSEED": "0",
    }
    return subprocess.run(
        [sys.executable, *flags, str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
