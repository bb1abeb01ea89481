"""Every release of the SDK is recorded alike: one program, one service, one tape each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest
from tests.versions.limits import LIMITS, wrong_limits
from tests.versions.page import INSTALLED_WITHIN_S, PAGE, operations_of, page, written
from tests.versions.releases import SAMPLE, NotToBeHad, Release, install, releases
from tests.versions.runs import Observed, differences, observe_all

QUICKLY_S = 20.0


@pytest.fixture(scope="session")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Observed]]]:
    """The runs of all releases that the chosen tests ask for, begun at once."""
    items = (getattr(item, "callspec", None) for item in request.session.items)
    asked = {spec.params["release"] for spec in items if spec is not None and "release" in spec.params}
    wanted = [release for release in releases() if release in asked]
    everything = request.config.getoption("--versions")
    try:
        for number, release in enumerate(install(wanted, within_s=INSTALLED_WITHIN_S if everything else QUICKLY_S), 1):
            if everything:
                request.config.get_terminal_writer().line(f"{number}/{len(wanted)}: tinker {release.version} is there")
    except NotToBeHad as error:
        if everything:
            raise
        pytest.skip(f"{error}; ./tt test --versions insists")
    yield observe_all(wanted, tmp_path_factory.mktemp("versions"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "release" in metafunc.fixturenames:
        everything = metafunc.config.getoption("--versions")
        chosen = [release for release in releases() if everything or release.version in SAMPLE]
        metafunc.parametrize("release", chosen, ids=lambda release: release.version, scope="session")


@pytest.fixture(scope="session")
def observed(release: Release, running: Mapping[str, Future[Observed]]) -> Observed:
    return running[release.version].result()


def test_the_tape_says_what_the_program_did_and_the_service_saw(observed: Observed) -> None:
    assert differences(observed) == []


def test_what_a_release_lacks_is_what_is_written_down(observed: Observed) -> None:
    assert wrong_limits(observed) == []


def test_the_page_lists_the_operations_that_a_release_shows(observed: Observed) -> None:
    on_page = written(PAGE.read_text(encoding="utf-8"))

    assert operations_of(observed) == on_page[observed.release.version], "run python -m tests.versions.page"


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
