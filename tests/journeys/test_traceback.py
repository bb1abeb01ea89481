"""What a failing training script prints under `tinkertape run` is what it prints without us, to the last frame."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.processes import ended, plain, recorded

from tinkertape import sim

FAILS = """
import tinker
from tinker import types

service = tinker.ServiceClient()
training = service.create_lora_training_client(base_model="Qwen/Qwen3-8B", rank=8).result()
inputs = {"target_tokens": [2, 3, 4], "weights": [1.0, 1.0, 1.0]}
datum = types.Datum(model_input=types.ModelInput.from_ints([1, 2, 3]), loss_fn_inputs=inputs)
try:
    training.forward_backward([datum], "no_such_loss").result()
except tinker.RequestFailedError as error:
    raise RuntimeError("the batch was refused") from error
"""
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def test_a_failed_request_s_traceback_is_the_same_with_and_without_us(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    with sim.start() as service:
        programs = [start(script, directory=tmp_path / "home", service=service.url) for start in (plain, recorded)]
        told = [ended(program) for program in programs]

    without, with_us = [(status, said, ID.sub("ID", complained)) for status, said, complained in told]
    assert without == with_us
    assert "RuntimeError: the batch was refused" in without[2]
