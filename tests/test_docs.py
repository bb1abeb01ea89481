"""The documentation is true: everything has its page, every example runs, every link leads somewhere.

In a page, a block marked `python` is run by itself, one marked `python file=NAME` is written to NAME, and the lines of
a block marked `console run` that begin with `$ ` are run, all of a page in one folder, in order. `text`, `console` and
`sh` are only read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tinkertape.cli.group import COMMANDS, commands
from tinkertape.config import ENVIRONMENT

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
DETECTORS = ROOT / "src" / "tinkertape" / "diagnosis" / "detectors"
BLOCK = re.compile(r"^```(?P<mark>[^\n`]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


class Block(NamedTuple):
    mark: str
    text: str
    line: int


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield Block(found["mark"].strip(), found["text"], text.count("\n", 0, found.start()) + 1)


def run_block(block: Block, folder: Path) -> list[str]:
    """Do what the block's mark says; what went wrong, in words."""
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    if block.mark.startswith("python file="):
        (folder / block.mark.removeprefix("python file=")).write_text(block.text, encoding="utf-8")
        return []
    if block.mark == "python":
        calls = [[sys.executable, "-c", block.text]]
    elif block.mark == "console run":
        calls = [["bash", "-c", line[2:]] for line in block.text.splitlines() if line.startswith("$ ")]
    else:
        return []
    return [wrong for call in calls if (wrong := failure(call, folder, environment))]


def failure(call: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    return "" if done.returncode == 0 else f"{call[-1]}\nstatus {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_example_of_a_page_runs(page, tmp_path):
    failed = [f"line {block.line}: {wrong}" for block in blocks(page) for wrong in run_block(block, tmp_path)]

    assert failed == [], "\n".join(failed)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_to_a_file(page):
    targets = [found["target"].partition("#")[0] for found in LINK.finditer(page.read_text(encoding="utf-8"))]
    local = [target for target in targets if target and "://" not in target]

    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [path.name for path in sorted(DOCS.glob("*.md")) if f"docs/{path.name}" not in readme] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_each_of_its_options_is_on_the_page_of_commands(name):
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    section = re.search(rf"^## `tinkertape {name}.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None

    command = commands.get_command(None, name)
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if f"`{option}" not in section[0]] == []


def test_every_setting_is_on_the_page_of_settings():
    page = (DOCS / "settings.md").read_text(encoding="utf-8")

    assert [name for pair in ENVIRONMENT.items() for name in pair if f"`{name}`" not in page] == []


def test_every_setting_that_the_code_reads_is_a_declared_one():
    declared = {*ENVIRONMENT.values(), "_TINKERTAPE_COMPLETE"}
    read = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"_?TINKERTAPE_[A-Z]+\b", path.read_text(encoding="utf-8"))
    }

    assert read - declared == set()


def test_the_generated_pages_are_what_the_code_says():
    done = subprocess.run([sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True)

    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_every_detector_is_on_the_page_of_detectors():
    page = (DOCS / "detectors.md").read_text(encoding="utf-8")
    causes = [path.stem.replace("_", "-") for path in DETECTORS.glob("*.py") if not path.name.startswith("_")]

    assert [cause for cause in causes if f"## `{cause}`" not in page] == []
