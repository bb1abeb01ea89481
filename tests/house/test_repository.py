"""What is committed works elsewhere: no path of one machine, no address of one registry, nothing that is made here."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
MACHINE_PATH = re.compile(r"(?<![\w.<>$}-])/(?:wor[k]|roo[t]|hom[e]/(?!me/|you/)\w+|User[s]/\w+)/[\w.]")


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""  # a picture


def test_no_file_names_a_path_of_one_machine():
    named = [
        f"{path.relative_to(ROOT)}: {found[0]}" for path in committed() if (found := MACHINE_PATH.search(text_of(path)))
    ]

    assert named == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_with_hashes_and_name_no_registry(path):
    text = path.read_text(encoding="utf-8")
    pins = re.findall(r"^[A-Za-z0-9._-]+==[^ \\\n]+", text, re.MULTILINE)

    assert re.findall(r"https?://|file:|^\s*-", re.sub(r"--hash=sha256:[0-9a-f]{64}", "", text), re.MULTILINE) == []
    assert len(pins) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)), "every line is a pin"
    assert len(re.findall(r"^\S.*\n {4}--hash=", text, re.MULTILINE)) == len(pins), "every pin has a hash"


def test_the_packages_from_npm_are_pinned_with_hashes_and_name_no_registry():
    lock = json.loads((ROOT / "requirements" / "statsd" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert "node_modules/statsd" in packages
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_the_test_requirements_hold_the_same_versions_as_the_demos():
    pinned = [
        set(
            re.findall(
                r"^[A-Za-z0-9._-]+==[^ \\\n]+", (ROOT / "requirements" / name).read_text(encoding="utf-8"), re.MULTILINE
            )
        )
        for name in ("demo.txt", "test.txt")
    ]

    assert pinned[0] <= pinned[1]


def test_nothing_that_is_ignored_is_committed():
    ignored = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ignored.stdout == ""


@pytest.mark.parametrize("name", ["tt", ".ci/run", "requirements/compile"])
def test_the_scripts_are_executable_and_parse(name):
    assert (ROOT / name).stat().st_mode & 0o111

    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)
