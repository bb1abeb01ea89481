"""`./tt` on machines that lack something: it says in one line what to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = ("python", "python3", "python3.11", "python3.12", "python3.13", "python3.14")
TOOLS = ("bash", "cat", "cksum", "dirname", "env", "grep", "rm", "tail")
TOO_OLD = '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n'
WITHOUT_VENV = f"""#!/bin/sh
case "$*" in *"-m venv"* | *"-m virtualenv"* | *"-m pip"*) exit 1 ;; esac
exec {sys.executable} "$@"
"""
NOT_ROOT = "#!/bin/sh\necho 1000\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What ./tt needs of the repository, in a folder of its own, not set up."""
    shutil.copy(ROOT / "tt", tmp_path / "tt")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def machine(folder: Path, **programs: str) -> dict[str, str]:
    """An environment in which only a few tools and these programs are found."""
    path = folder / "bin"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(shutil.which(tool) or tool)
    for name, script in programs.items():
        program = path / name.replace("_", ".")
        program.write_text(script, encoding="utf-8")
        program.chmod(0o755)
    return {"PATH": str(path), "HOME": str(folder)}


def tt(checkout: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "tt"), *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_without_a_command_it_lists_the_commands_and_sets_nothing_up(checkout):
    done = tt(checkout, dict(os.environ))

    assert done.returncode == 0
    assert "./tt demo" in done.stdout and "./tt test" in done.stdout
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_too_old_is_named_with_what_to_do(checkout):
    environment = machine(checkout, **{name.replace(".", "_"): TOO_OLD for name in PYTHONS})

    done = tt(checkout, environment, "demo")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "tt: needs Python 3.11 or newer, found Python 3.9.2; install one (Debian 12: apt-get install python3), "
        "or name it in TT_PYTHON"
    ]


def test_a_python_without_venv_is_told_what_to_install_where_it_may_not_install_it(checkout):
    environment = machine(checkout, python3=WITHOUT_VENV, id=NOT_ROOT)

    done = tt(checkout, environment, "demo")

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert f"install python{version}-venv" in done.stderr.splitlines()[-1]
    assert not (checkout / ".venv").exists()


def test_settings_of_the_machines_own_pip_and_python_do_not_reach_the_program(checkout):
    """What is set up already is run as it is, so the environment of the program can be seen."""
    scripts = checkout / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("python", "tinkertape"):
        (scripts / name).write_text("#!/bin/sh\nenv\n", encoding="utf-8")
        (scripts / name).chmod(0o755)
    stamp = subprocess.run(
        ["bash", "-c", 'printf "%s %s %s" "$PWD" "$(cksum <requirements/demo.txt)" "$(cksum <pyproject.toml)"'],
        cwd=checkout, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (scripts.parent / ".tt-demo").write_text(stamp, encoding="utf-8")
    meddling = {"PIP_USER": "1", "PIP_CONSTRAINT": "x", "PYTHONPATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}

    done = tt(checkout, {**machine(checkout), **meddling, "PIP_INDEX_URL": "kept", "TINKER_API_KEY": "kept"}, "runs")

    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stderr
    assert names & meddling.keys() == set()
    assert {"PIP_INDEX_URL", "TINKER_API_KEY"} <= names
