"""What holds for every file in the folder of detectors: the folder is the registry."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest
from tests.diagnosis.builder import training_run

from tinkertape.diagnosis import causes, diagnose

CLOCKS = {"time", "datetime", "asyncio", "sched", "threading"}
DETECTORS = [pytest.param(cause, module, id=cause) for cause, module in causes().items()]


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_says_its_rule_its_source_and_when_it_is_wrong(cause: str, module: ModuleType) -> None:
    text = module.__doc__ or ""

    assert text.startswith(f"{cause}: ")
    assert [word for word in ("\nRule ", "\nSource ", "\nWrong if ") if word not in text] == []


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_says_what_it_listens_to(cause: str, module: ModuleType) -> None:
    assert isinstance(module.LISTENS, tuple)
    assert module.LISTENS


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_listens_to_no_event_that_every_request_has_and_it_passes_over(cause: str, module: ModuleType) -> None:
    assert not {"", "tinker", "tinker.http.request", "tinker.training", "tinker.sampling"} & set(module.LISTENS)


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_has_one_way_in(cause: str, module: ModuleType) -> None:
    assert hasattr(module, "Detector") != hasattr(module, "detect")
    if hasattr(module, "Detector"):
        assert set(inspect.signature(module.Detector).parameters) <= {"book"}


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_never_reads_a_clock(cause: str, module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in imported} & CLOCKS == set()


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_finds_nothing_in_a_run_without_faults(cause: str, module: ModuleType) -> None:
    assert not diagnose(training_run([100] * 12).events(), only=cause).findings


@pytest.mark.parametrize(("cause", "module"), DETECTORS)
def test_it_finds_nothing_in_no_run_at_all(cause: str, module: ModuleType) -> None:
    assert not diagnose([], only=cause).findings
