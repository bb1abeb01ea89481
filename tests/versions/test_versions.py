"""Every release of the SDK is recorded alike: one program, one service, one tape each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.versions.limits import LIMITS, wrong_limits
from tests.versions.own_tests import Outcomes, begin_own_tests
from tests.versions.page import INSTALLED_WITHIN_S, PAGE, operations_of, page, written
from tests.versions.releases import SAMPLE, NotToBeHad, Release, install, releases
from tests.versions.runs import Observed, differences, observe_all

pytestmark = pytest.mark.timeout(1200)  # with every release, one waits for those before it

QUICKLY_S = 20.0


class Running(NamedTuple):
    """What is under way, by release; and whether tinkertape is installed, for the SDK's own tests."""

    observed: Mapping[str, Future[Observed]]
    switched_on: Mapping[str, Future[Observed]]
    own_tests: Mapping[tuple[str, bool], Future[Outcomes]]


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """The runs of all releases that the chosen tests ask for, begun at once: most of each is waiting."""
    specs = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted, tested, switched = (
        [each for each in releases() if each in asked(specs, name)] for name in ("release", "tested", "switched")
    )
    there = [each for each in releases() if each in (*wanted, *tested, *switched)]
    everything = request.config.getoption("--versions")
    try:
        for number, release in enumerate(install(there, within_s=INSTALLED_WITHIN_S if everything else QUICKLY_S), 1):
            if everything:
                request.config.get_terminal_writer().line(f"{number}/{len(there)}: tinker {release.version} is there")
    except NotToBeHad as error:
        if everything:
            raise
        pytest.skip(f"{error}; ./tt test --versions insists")
    folder = tmp_path_factory.mktemp("versions")
    own = begin_own_tests(tested, folder, everything=everything)
    return Running(observe_all(wanted, folder), observe_all(switched, folder, switched_on=True), own)


def asked(specs: Sequence[Mapping[str, object]], name: str) -> list[object]:
    """The releases that the chosen tests have as a parameter."""
    return [spec[name] for spec in specs if name in spec]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    everything = metafunc.config.getoption("--versions")
    chosen = [release for release in releases() if everything or release.version in SAMPLE]
    newest = chosen if everything else chosen[-1:]
    switched = [release for release in newest if release.asks_for_config]
    for name, wanted in {"release": chosen, "tested": newest, "switched": switched}.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, wanted, ids=lambda release: release.version, scope="session")


@pytest.fixture(scope="session")
def observed(release: Release, running: Running) -> Observed:
    return running.observed[release.version].result()


def test_the_tape_says_what_the_program_did_and_the_service_saw(observed: Observed) -> None:
    assert differences(observed) == []


def test_it_says_so_too_with_all_that_a_service_may_switch_on(switched: Release, running: Running) -> None:
    assert differences(running.switched_on[switched.version].result()) == []


def test_what_a_release_lacks_is_what_is_written_down(observed: Observed) -> None:
    assert wrong_limits(observed) == []


def test_the_page_lists_the_operations_that_a_release_shows(observed: Observed) -> None:
    on_page = written(PAGE.read_text(encoding="utf-8"))

    assert operations_of(observed) == on_page[observed.release.version], "run python -m tests.versions.page"


def test_the_sdks_own_tests_pass_with_us_installed_as_without(tested: Release, running: Running) -> None:
    own = {
        recorded: run.result() for (version, recorded), run in running.own_tests.items() if version == tested.version
    }

    assert len(own[True]) > 50 and "passed" in own[True].values()
    assert own[True] == own.get(False, dict.fromkeys(own[True], "passed"))


def test_the_page_is_made_of_what_the_harness_knows() -> None:
    text = PAGE.read_text(encoding="utf-8")

    seen = written(text)
    assert list(seen) == [release.version for release in releases()]
    assert page(seen) == text, "run python -m tests.versions.page"
    assert all(limit.why in text for limit in LIMITS)


def test_a_release_that_is_not_to_be_had_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TT_SDK_CACHE", str(tmp_path))
    missing = Release("0.0.0", f"tinker==0.0.0 --hash=sha256:{'0' * 64}")

    with pytest.raises(NotToBeHad, match=r"^tinker-0\.0\.0 cannot be installed: .+$"):
        list(install([missing], within_s=QUICKLY_S))

    assert not (tmp_path / "tinker-0.0.0").exists()
