"""`tinkertape run` follows the workers of a program: one run, a process each, nothing lost."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent

from tests.cli.conftest import TINKERTAPE, call
from tests.instrument.watching import MODEL, SECRET, scenario
from tests.services import services

from tinkertape import open_tape
from tinkertape.cli import following

PROGRAM = """
    import multiprocessing, os, sys, threading
    from concurrent.futures import ProcessPoolExecutor

    import tinkertape

    def record(number):
        tinkertape.execute("my.event", {"number": number})
        return number

    def wait(ready):
        record(6)
        ready.set()
        threading.Event().wait()

    def sample(client):
        import tinker
        prompt = tinker.ModelInput.from_ints([1, 2, 3])
        return len(client.sample(prompt, 1, tinker.SamplingParams(max_tokens=4)).result(30).sequences)

    def work(method, client=None):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            print(list(pool.map(record, range(5))), client and pool.submit(sample, client).result())
        with context.Pool(1) as pool:  # it is torn down by `terminate`
            print(pool.apply(record, (5,)))
        ready = context.Event()
        worker = context.Process(target=wait, args=(ready,))
        worker.start(); ready.wait(); worker.terminate(); worker.join()
        print(worker.exitcode)

    def main():
        work("fork")  # before the SDK, which cannot be forked
        import tinker
        service = tinker.ServiceClient()
        client = service.create_sampling_client(base_model=os.environ["MODEL"]).result()
        work("spawn", client)
        work("forkserver", client)
        print(__spec__.name, sys.modules["__main__"].__spec__ is __spec__)
        service.close("success").result(30)

    if __name__ == "__main__":
        main()
"""


def test_workers_of_every_kind_record_into_the_same_run_and_nothing_of_it_is_lost(
    tmp_path: Path, directory: Path
) -> None:
    (tmp_path / "experiment.py").write_text(dedent(PROGRAM))
    with services(tmp_path) as begin:
        url = begin(scenario()).url
        known = {"TINKER_BASE_URL": url, "TINKER_API_KEY": SECRET, "MODEL": MODEL, "TINKER_TELEMETRY": "0"}
        ran = call([*TINKERTAPE, "run", "-q", "-m", "experiment"], directory, cwd=tmp_path, **known)

    of_one = "[0, 1, 2, 3, 4] {}\n5\n-15\n"
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{of_one.format(None)}{2 * of_one.format(1)}experiment True\n"
    [folder] = directory.glob("tapes/*")
    tape = open_tape(folder)
    events = [(event.name, event.measurements.get("number"), event.process) for event in tape]
    numbers = Counter(number for name, number, _ in events if name == "my.event")
    assert numbers == Counter({number: 3 for number in range(7)})
    assert len({process for name, _, process in events if name == "my.event"}) == 9  # three workers of each method
    assert len({process for name, _, process in events if name == "tinker.sampling.sample.stop"}) == 2
    assert len({process for name, _, process in events if name == "telemetry.session.stop"}) == 7  # not the forked ones
    assert tape.verify().is_whole and tape.ledger().balanced and not tape.ledger().dropped


def test_an_interpreter_without_tinkertape_is_spawned_as_ever() -> None:
    row = pickle.dumps(following._Row(run="01", name="x", directory="/nowhere"))

    unpickled = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import pickle, sys; print(pickle.load(sys.stdin.buffer))"],
        input=row,
        capture_output=True,
    )

    assert (unpickled.stdout, unpickled.stderr) == (b"None\n", b"")
