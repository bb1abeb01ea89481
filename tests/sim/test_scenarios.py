from __future__ import annotations

import re
from pathlib import Path
from typing import get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinkertape.sim import (
    FAULTS,
    Latency,
    Pause,
    Scenario,
    SimError,
    Slow,
    StatusRate,
    SubmitFault,
    choose_scenario,
    demo_scenario,
    healthy_scenario,
    load_scenario,
    user_error_scenario,
)
from tinkertape.sim.scenarios import DEMO_STEPS

SEEDS = st.integers(min_value=0, max_value=2**31)


@given(SEEDS)
def test_the_demo_has_one_slow_stretch_one_pause_and_one_refused_request_apart_from_each_other(seed):
    scenario = demo_scenario(seed)

    [slow], [pause], [fault] = scenario.slow, scenario.pauses, scenario.submit_faults
    slow_steps = set(range(slow.first, slow.last + 1))
    assert slow.first > 8 and slow.last <= DEMO_STEPS and len(slow_steps) == 6
    assert 2.5 <= slow.factor <= 3.0 and 2.0 <= pause.length_s <= 3.0
    assert 1 < pause.nth < DEMO_STEPS and 1 < fault.nth < DEMO_STEPS
    assert not slow_steps & {pause.nth - 1, pause.nth, pause.nth + 1}
    assert not slow_steps & {fault.nth - 1, fault.nth, fault.nth + 1}
    assert abs(pause.nth - fault.nth) > 1
    assert (fault.status, scenario.future_faults, scenario.poll_faults) == (503, (), ())


def test_every_placement_moves_with_the_seed():
    scenarios = [demo_scenario(seed) for seed in range(20)]

    assert len({scenario.slow for scenario in scenarios}) > 10
    assert len({scenario.pauses for scenario in scenarios}) > 10
    assert len({scenario.submit_faults for scenario in scenarios}) > 10


@given(SEEDS)
def test_the_others_have_no_fault_or_just_the_users(seed):
    healthy, wrong = healthy_scenario(seed), user_error_scenario(seed)

    assert msgspec.structs.replace(wrong, future_faults=(), name="healthy") == healthy
    assert not (healthy.slow or healthy.pauses or healthy.submit_faults or healthy.future_faults or healthy.poll_faults)
    [fault] = wrong.future_faults
    assert fault.category == "user" and 1 < fault.nth < DEMO_STEPS


@given(SEEDS, st.integers(1, 100))
def test_compute_times_vary_within_the_jitter_and_come_from_the_seed(seed, nth):
    scenario = Scenario(seed=seed, compute_s={"OptimStep": 2.0}, jitter=0.1)

    assert 1.8 <= scenario.usual_s("OptimStep", nth) <= 2.2
    assert scenario.usual_s("OptimStep", nth) == scenario.usual_s("OptimStep", nth)


@pytest.mark.parametrize("name", ["demo", "user-error", "healthy"])
def test_a_scenario_read_back_from_a_file_is_the_same(tmp_path: Path, name: str):
    scenario = choose_scenario(name, 7)
    (tmp_path / "s.toml").write_bytes(toml_of(scenario))

    assert load_scenario(tmp_path / "s.toml") == scenario
    assert choose_scenario(str(tmp_path / "s.toml"), 9).seed == 9


def toml_of(scenario: Scenario) -> bytes:
    """JSON's scalars, lists and objects are TOML's inline ones, but for `:`; None is left out."""

    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items() if item is not None) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(inline(item) for item in value) + "]"
        return msgspec.json.encode(value).decode()

    fields = msgspec.to_builtins(scenario)
    return "\n".join(f"{key} = {inline(value)}" for key, value in fields.items()).encode()


def test_the_example_in_the_docstring_is_a_scenario(tmp_path: Path):
    from tinkertape.sim import scenario as module  # noqa: PLC0415 - its docstring is what is tested

    example = module.__doc__.split("defaults:")[1].replace("\n    ", "\n")
    (tmp_path / "s.toml").write_text(example)

    loaded = load_scenario(tmp_path / "s.toml")

    assert (loaded.slow[0].factor, loaded.pauses[0].nth, loaded.submit_faults[0].times) == (2.8, 21, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("poll_hold = 1", "poll_hold"),
        ("jitter = 2.0", "jitter is 2.0"),
        ("seed = [", "is not a scenario"),
        ("[[pauses]]\nnth = 1", "length_s"),
        ("latency_s = -1.0", r"latency_s is -1\.0; allowed is a number of at least 0\.0"),
        (
            "[[pauses]]\nnth = -3\nlength_s = 1.0",
            r"nth is -3; allowed is a whole number of at least 1 - at `\$\.pauses",
        ),
        ("[[pauses]]\nnth = 1\nlength_s = -1.0", r"length_s is -1\.0; allowed is a number of at least 0\.0"),
        ("[[outages]]\nnth = 1\nlength_s = inf", "length_s is inf"),
        ("[[outages]]\nnth = 1\nlength_s = 1e308", r"length_s is 1e\+308; allowed .* at most 31536000\.0"),
        ("[compute_s]\nSample = 1e300", r"compute_s\.Sample is 1e\+300"),
        ("upload_bytes_per_s = 1e-300", r"upload_bytes_per_s is 1e-300; allowed is a number of at least 1\.0"),
        ("[[slow]]\nfactor = 2.0\nfrom_s = 5.0\nuntil_s = 5.0", r"until_s is 5\.0; allowed .* from_s, which is 5\.0"),
        ('[[latency]]\none_way_s = 0.1\npath = "optim_step"', "path is 'optim_step'; allowed is a route"),
        ("[[slow]]\nfirst = 5\nlast = 2\nfactor = 2.0", "last is 2; allowed .* first, which is 5"),
        ("[[slow]]\nfirst = 1\nlast = 2\nfactor = nan", "factor is nan"),
        ("[[poll_faults]]\nnth = 1\nstatus = 200", "status is 200; allowed .* 400 and at most 599"),
        ("[[submit_faults]]\nnth = 1\nstatus = 503\ntimes = 0", "times is 0"),
        ("[compute_s]\nSample = -0.1", r"compute_s\.Sample is -0\.1"),
        ('[[slow]]\nfirst=1\nlast=2\nfactor=2.0\nrequest_types=["Nap"]', "Nap"),
    ],
)
def test_a_file_that_is_no_scenario_is_one_line_that_says_why(tmp_path: Path, text: str, says: str):
    (tmp_path / "s.toml").write_text(text)

    with pytest.raises(SimError, match=says) as raised:
        load_scenario(tmp_path / "s.toml")

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Pause(nth=-3, length_s=1.0), "nth is -3; allowed is a whole number of at least 1"),
        (lambda: Pause(nth=1.5, length_s=1.0), "nth is 1.5"),
        (lambda: Slow(first=1, last=2, factor="twice"), "factor is 'twice'; allowed is a number of at least 0.0"),
        (lambda: SubmitFault(nth=1, status=503, retry_after_s=-1.0), "retry_after_s is -1.0"),
        (lambda: Scenario(jitter=1.2), "jitter is 1.2; allowed is a number of at least 0.0 and at most 1.0"),
        (lambda: msgspec.structs.replace(Scenario(), samples_at_once=-1), "samples_at_once is -1"),
    ],
)
def test_a_scenario_written_in_python_refuses_the_same_figures(make, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        make()


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(SimError, match="No such file"):
        load_scenario(tmp_path / "none.toml")


def test_faults_have_names_and_several_may_come_together():
    scenario = choose_scenario("resets,billing,outage", 4)

    assert (scenario.name, scenario.seed) == ("resets,billing,outage", 4)
    assert [len(scenario.connection_faults), scenario.submit_faults[0].status, scenario.outages[0].how] == [
        3,
        402,
        "refused",
    ]
    assert choose_scenario("resets,slow", 4).connection_faults == scenario.connection_faults


def test_every_fault_that_has_a_name_is_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "simulated-service.md").read_text(encoding="utf-8")

    table = "".join(line for line in page.splitlines() if line.startswith("| `"))
    assert [name for name in FAULTS if f"`{name}`" not in table] == []
    kinds = [name for name, kind in get_type_hints(Scenario).items() if get_origin(kind) is tuple]
    assert [name for name in kinds if f"[[{name}]]" not in page] == []


def test_the_example_on_the_page_is_a_scenario(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "simulated-service.md").read_text(encoding="utf-8")
    (tmp_path / "s.toml").write_text(page.split("```toml\n")[1].split("```")[0])

    loaded = load_scenario(tmp_path / "s.toml")

    assert loaded.expiries[0].nth == 15 and loaded.status_rates[0].share == 0.02


def test_a_rate_is_that_share_and_the_seed_says_which():
    scenario = Scenario(seed=3, status_rates=(StatusRate(status=503, share=0.2), StatusRate(status=429, share=0.5)))

    met = [scenario.submit_fault("OptimStep", nth, 1) for nth in range(1, 2001)]

    shares = [sum(fault is not None and fault.status == status for fault in met) / 2000 for status in (503, 429)]
    assert shares == pytest.approx([0.2, 0.4], abs=0.04)
    assert met == [scenario.submit_fault("OptimStep", nth, 1) for nth in range(1, 2001)]


def test_latency_is_that_of_its_path_and_on_average_what_it_says():
    slow_path = Latency(one_way_s=0.1, path="/optim", distribution="exponential")
    scenario = Scenario(latency_s=0.01, latency=(slow_path, Latency(one_way_s=0.02, distribution="uniform")))

    there, back = zip(*(scenario.travel_s("/optim_step", number) for number in range(2000)), strict=True)

    assert [sum(times) / 2000 for times in (there, back)] == pytest.approx([0.13, 0.13], rel=0.1)
    assert all(0.01 <= each <= 0.05 for number in range(99) for each in scenario.travel_s("/asample", number))
