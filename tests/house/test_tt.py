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
TOOLS = ("bash", "cat", "cksum", "chmod", "cp", "dirname", "env", "grep", "mkdir", "rm", "sleep", "tail")
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
    path.mkdir(parents=True)
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
    stamp_as_installed(checkout, "demo")
    meddling = {"PIP_USER": "1", "PIP_CONSTRAINT": "x", "PYTHONPATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}

    done = tt(checkout, {**machine(checkout), **meddling, "PIP_INDEX_URL": "kept", "TINKER_API_KEY": "kept"}, "runs")

    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert done.returncode == 0, done.stderr
    assert names & meddling.keys() == set()
    assert {"PIP_INDEX_URL", "TINKER_API_KEY"} <= names


def stamp_as_installed(checkout: Path, requirements: str) -> None:
    made_from = f'printf "%s %s %s" "$PWD" "$(cksum <requirements/{requirements}.txt)" "$(cksum <pyproject.toml)"'
    stamp = subprocess.run(["bash", "-c", made_from], cwd=checkout, capture_output=True, text=True, check=True).stdout
    (checkout / ".venv" / f".tt-{requirements}").write_text(stamp, encoding="utf-8")


def test_names_of_benchmarks_come_first_and_the_rest_is_theirs(checkout):
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nshift\necho "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (checkout / "benchmarks").mkdir()
    (checkout / "benchmarks" / "bench_bus.py").touch()
    stamp_as_installed(checkout, "test")

    with_options, without = (
        tt(checkout, machine(checkout / name), *arguments)
        for name, arguments in (("one", ["bench", "bus", "--soak", "10"]), ("two", ["bench"]))
    )

    assert (with_options.returncode, with_options.stdout) == (0, "--soak 10\n")
    assert (without.returncode, without.stdout) == (0, "\n")


UV_THAT_TRUSTS_NOBODY = """#!/bin/sh
case "$*" in
  venv*)
    for venv; do :; done
    mkdir -p "$venv/bin" && cp "$HOME/program" "$venv/bin/python" && cp "$HOME/program" "$venv/bin/tinkertape" ;;
  *--help*) printf '%s' "$UV_KNOWS" ;;
  *--editable*) ;;
  *) printf '%s|%s' "$*" "$SSL_CERT_FILE" >"$HOME/asked"; echo "error: UnknownIssuer" >&2; exit 2 ;;
esac
"""


def machine_with_uv(checkout: Path, program: str) -> dict[str, str]:
    """uv makes an environment in which every program is this one, and cannot install into it."""
    (checkout / "program").write_text(program, encoding="utf-8")
    (checkout / "program").chmod(0o755)
    environment = machine(checkout, uv=UV_THAT_TRUSTS_NOBODY)
    (checkout / "bin" / "python3").symlink_to(sys.executable)
    return environment


@pytest.mark.parametrize("knows", ["--system-certs", "--native-tls"])
def test_uv_is_told_to_trust_whom_the_machine_trusts_in_the_words_it_knows(checkout, knows):
    environment = machine_with_uv(checkout, "#!/bin/sh\n")

    done = tt(checkout, {**environment, "UV_KNOWS": f"      {knows}", "SSL_CERT_FILE": "/my/ca.pem"}, "runs")

    asked, certificates = (checkout / "asked").read_text(encoding="utf-8").split("|")
    assert done.returncode == 0, done.stderr
    assert knows in asked.split()
    assert certificates == "/my/ca.pem"


def test_the_certificates_given_to_pip_are_given_to_uv(checkout):
    environment = machine_with_uv(checkout, "#!/bin/sh\nenv\n")

    done = tt(checkout, {**environment, "UV_KNOWS": "", "PIP_CERT": "/my/ca.pem"}, "runs")

    assert (checkout / "asked").read_text(encoding="utf-8").endswith("|/my/ca.pem")
    assert "SSL_CERT_FILE" not in done.stdout  # the program's own settings are not changed


def test_what_uv_said_is_in_a_log_and_not_on_the_screen_where_pip_can_do_it(checkout):
    done = tt(checkout, machine_with_uv(checkout, "#!/bin/sh\n"), "runs")

    log = checkout / ".venv" / ".tt-install.log"
    assert done.returncode == 0, done.stderr
    assert "UnknownIssuer" not in done.stderr
    assert str(log) in done.stderr
    assert "UnknownIssuer" in log.read_text(encoding="utf-8")


def test_where_nothing_can_install_the_reason_is_on_the_screen(checkout):
    refuses = "#!/bin/sh\ncase \"$*\" in *install*) echo 'no route to the index' >&2; exit 1 ;; esac\n"

    done = tt(checkout, machine_with_uv(checkout, refuses), "runs")

    assert done.returncode == 1
    assert "no route to the index" in done.stderr
    assert "could not install requirements/demo.txt" in done.stderr.splitlines()[-1]


def test_an_install_that_takes_its_time_shows_that_it_lives(checkout):
    slow = '#!/bin/sh\ncase "$*" in *install*) sleep 4 ;; esac\n'

    done = tt(checkout, machine_with_uv(checkout, slow), "runs")

    assert done.returncode == 0, done.stderr
    assert "." in done.stderr.splitlines()


def test_a_link_to_it_works_from_anywhere(checkout, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "first").symlink_to(checkout / "tt")
    (elsewhere / "tt").symlink_to("first")
    environment = machine_with_uv(checkout, "#!/bin/sh\n")
    (checkout / "bin" / "readlink").symlink_to(shutil.which("readlink") or "readlink")

    done = subprocess.run(
        [str(elsewhere / "tt"), "runs"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert (checkout / ".venv" / ".tt-demo").exists()
