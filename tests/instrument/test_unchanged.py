"""What the program sees is what it would see without us."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.instrument.watching import run_program

from tinkertape.sim import FutureFault, Sim, SubmitFault

StartService = Callable[..., Sim]

TYPES = """
import asyncio, concurrent.futures, inspect, pickle, warnings
import tinker
from tinker import types
tokens = types.ModelInput.from_ints([1, 2, 3])
data = [types.Datum(model_input=tokens, loss_fn_inputs={"target_tokens": [2, 3, 4], "weights": [1.0] * 3})]
adam = types.AdamParams(learning_rate=0.01)
service = tinker.ServiceClient()
pending = service.create_lora_training_client(base_model="simulated/bytes-bigram")
print(type(pending).__mro__, isinstance(pending, tinker.TrainingClient))
training = pending.result()
print(type(training), repr(pending).startswith("<Backcompat"))
future = training.forward_backward(data, "cross_entropy")
print(type(future), isinstance(future, tinker.APIFuture), type(future.future()), future.future() is future.future())
print(sorted(future.result().metrics), future.result() is future.result(), future.future().done())
print([future.future().result() is future.result(), future.future().exception()])
sampling = training.save_weights_and_get_sampling_client().result()
sample = sampling.sample(tokens, 1, types.SamplingParams(max_tokens=2))
print(type(sample), isinstance(sample, concurrent.futures.Future), len(sample.result().sequences))
print([f.result().sequences[0].stop_reason for f in concurrent.futures.as_completed([sample.future()])])
for call in (training.optim_step, training.optim_step_async, sampling.sample, service.close, training.get_info):
    print(call.__name__, call.__qualname__, call.__module__, inspect.signature(call), inspect.iscoroutinefunction(call))
print([name for name in dir(training) if "tape" in name], [name for name in dir(type(future)) if "tape" in name])

async def main():
    first = training.forward_backward(data, "cross_entropy")
    second = training.optim_step(adam)
    print(sorted((await first).metrics), type(await second))
    return [type(await sampling.sample_async(tokens, 1, types.SamplingParams(max_tokens=2))), type(await sample)]

print(asyncio.run(main()))
print(asyncio.run(sample.coroutine()) is sample.result())
service.close("success").result()
"""

WARNINGS = """
import asyncio, warnings
import tinker
from tinker import types
tokens = types.ModelInput.from_ints([1, 2, 3])
service = tinker.ServiceClient(unknown=1)
pending = service.create_lora_training_client(base_model="simulated/bytes-bigram")
print(pending.model_id.count(":"))
pending.get_info()
training = pending.result()
sampling = training.save_weights_and_get_sampling_client(name="x").result()
sample = sampling.sample(tokens, 1, types.SamplingParams(max_tokens=1))
sample.done()
sample.result()
sample.add_done_callback(lambda _: None)
rest = service.create_rest_client()
service.get_server_capabilities()

async def main():
    future = await training.optim_step_async(types.AdamParams(learning_rate=0.01))
    await future
    await sampling.sample_async(tokens, 1, types.SamplingParams(max_tokens=1))
    await training.get_info_async()

asyncio.run(main())
service.close("success").result()
"""

RAISES = """
import sys, traceback
import tinker
from tinker import types
tokens = types.ModelInput.from_ints([1, 2, 3])
data = [types.Datum(model_input=tokens, loss_fn_inputs={"target_tokens": [2, 3, 4], "weights": [1.0] * 3})]
service = tinker.ServiceClient()
training = service.create_lora_training_client(base_model="simulated/bytes-bigram").result()
def attempt(call):
    try:
        call()
    except BaseException as error:
        traceback.print_exc()
        print(type(error), error.args, type(error.__cause__), type(error.__context__))
attempt(lambda: training.forward_backward([], "cross_entropy"))
attempt(lambda: training.optim_step())
attempt(lambda: training.optim_step(1, 2, 3, 4))
attempt(lambda: training.forward_backward(data, "cross_entropy").result())
attempt(lambda: training.forward_backward(data, "cross_entropy").result())
pending = training.optim_step(types.AdamParams(learning_rate=0.01))
attempt(lambda: pending.result(timeout=0.0))
print(type(pending.result(timeout=10)))
service.close("success").result()
training.no_such_method
"""


def without_ids(text: str) -> str:
    """Take out what differs between two runs anyway: ids, ports, times."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27,}", "ID", text)
    return re.sub(r"127\.0\.0\.1:\d+|0x[0-9a-f]+|line \d+, in (wrapper|_get)", "X", text)


@pytest.mark.parametrize(
    ("program", "flags"),
    [(TYPES, ()), (WARNINGS, ("-W", "always::FutureWarning", "-W", "always::DeprecationWarning")), (RAISES, ())],
    ids=["types and identities", "warnings at the program's own lines", "exceptions and tracebacks"],
)
def test_a_program_prints_the_same_with_us(
    program: str, flags: tuple[str, ...], start_service: StartService, tmp_path: Path
) -> None:
    faults = {
        "submit_faults": (SubmitFault(nth=1, status=422, message="too long"),),
        "future_faults": (FutureFault(nth=2, category="user", message="bad datum"),),
    }
    changes = faults if program is RAISES else {}

    (tmp_path / "program.py").write_text(program)

    def run(with_us: bool) -> subprocess.CompletedProcess[str]:
        return run_program(program, start_service(**changes), tmp_path, watched=with_us, flags=flags)

    for _ in range(3):  # the SDK's own threads abort a process at its end now and then, without us too
        with ThreadPoolExecutor(2) as pool:
            plain, watched = pool.map(run, (False, True))
        if -signal.SIGABRT not in (plain.returncode, watched.returncode):
            break

    assert watched.returncode == plain.returncode
    assert watched.stdout.count("\n") > 0
    assert without_ids(watched.stdout) == without_ids(plain.stdout)
    assert without_ids(watched.stderr) == without_ids(plain.stderr)
