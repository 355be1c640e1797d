"""The guides for plugin authors are followed to the letter: every command is run, every file is written.

A page's fenced blocks run in their order: ``console`` blocks are commands (after ``$``) with what they print, where
``...`` stands for what varies, on a line of its own for any lines or none, and columns may be wider; ``python`` blocks
that begin with a comment with a path are files; ``diff`` blocks that begin with ``---`` and a path are changes of one.
Others are not touched.

The commands that need TensorFlow run in processes that have imported it already.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from tests.conftest import Environment

ROOT = Path(__file__).parents[1]
PROGRESS = re.compile(r"^((preparing|epoch \d+/\d+)  \d+/\d+.*|Classifying .*)\n", re.MULTILINE)
"""Lines of a training that takes seconds, of which there are more on a slower machine."""

LIBRARIES = ROOT / "tests" / "scaffold" / "libraries.toml"

SHORTENED = {
    "pytest -q": "pytest -q -k 'not learns and not trains and not mixed and not seed and not file'",
    "mypy": f"cat pyproject.toml {LIBRARIES} > ../mypy.toml; mypy --config-file ../mypy.toml",
}
"""What is run in place of a command. The page's ``cnnreg check`` has just made the checks that are left out, and mypy
does not look into libraries that the package does not import."""
DESELECTED = re.compile(r", \d+ deselected(?= in )")

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


class Installed(Protocol):
    """An environment of commands."""

    binaries: Path

    def variables(self) -> dict[str, str]: ...


class Reader:
    """Does what a page says.

    Args:
        environment: where its commands come from, and where they install.
        python: what begins the command of a process with TensorFlow there.
        folder: where the reader begins.
    """

    def __init__(self, environment: Installed, python: list[str], folder: Path) -> None:
        commands = folder.parent / "commands"
        commands.mkdir()
        for name in ("python", "cnnreg", "pytest"):
            words = python if name == "python" else [*python, str(environment.binaries / name)]
            (commands / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
            (commands / name).chmod(0o755)
        self.variables = environment.variables() | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "1"}
        self.variables["PATH"] = f"{commands}{os.pathsep}{self.variables['PATH']}"
        self.folder = folder

    def follow(self, page: str) -> None:
        for language, text in BLOCK.findall(page):
            if language == "console":
                for command, shown in COMMAND.findall(text):
                    printed = self.run(command)
                    assert re.fullmatch(pattern(shown), printed), f"$ {command}\n{printed}\ninstead of\n{shown}"
            elif language == "diff":
                self.change(text)
            elif file := re.match(r"# ([\w/.]+\.py)\n\n?", text):
                (self.folder / file[1]).write_text(text[file.end() :], encoding="utf-8")

    def run(self, command: str) -> str:
        """What a command prints; the next one starts in the folder in which it ends."""
        script = f"{SHORTENED.get(command, command)}\npwd >&3"
        with (self.folder.parent / "pwd").open("w+") as place:
            done = subprocess.run(
                ["bash", "-c", f"exec 3>&{place.fileno()}; {script}"],
                cwd=self.folder,
                env=self.variables,
                pass_fds=[place.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            place.seek(0)
            self.folder = Path(place.read().strip())
        return DESELECTED.sub("", PROGRESS.sub("", done.stdout))

    def change(self, text: str) -> None:
        """Put the lines after ``+`` in the place of those after ``-``."""
        header, *lines = text.splitlines(keepends=True)
        path = self.folder / header.removeprefix("--- ").strip()
        before, after = ("".join(line[1:] for line in lines if line[0] in signs) for signs in (" -", " +"))
        whole = path.read_text(encoding="utf-8")
        assert whole.count(before) == 1, f"{path} has {whole.count(before)} times:\n{before}\nin\n{whole}"
        path.write_text(whole.replace(before, after), encoding="utf-8")


def pattern(shown: str) -> str:
    """The regular expression of what a command may print."""
    lines = ("(.*\n)*?" if line == "...\n" else re.escape(line) for line in shown.splitlines(keepends=True))
    return "".join(re.sub(r"(\\ )+", " +", line.replace(re.escape("..."), ".*?")) for line in lines)


@pytest.fixture
def reader(environment: Environment, tmp_path: Path) -> Iterator[Reader]:
    (tmp_path / "home").mkdir()
    yield Reader(environment, environment.python, tmp_path / "home")
    for package in tmp_path.glob("home/cnnreg-*"):
        environment.pip("uninstall", "--yes", package.name)


@pytest.mark.network
@pytest.mark.parametrize("page", ["plugin-authors", "porting"])
def test_every_command_prints_what_the_page_shows(reader: Reader, page: str) -> None:
    reader.follow((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("", "", True),
        ("", "more\n", False),
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
        ("...\nend\n", "end\n", True),
        ("...\nend\n", "one\ntwo\nend\n", True),
        ("...\nend\n", "end\nmore\n", False),
        ("(1 + 1)\n", "(1 + 1)\n", True),
        ("a  9.9  b\n", "a 10.0  b\n", False),
        ("a  ...  b\n", "a 10.0  b\n", True),
    ],
)
def test_dots_stand_for_what_varies_and_for_nothing_else(shown: str, printed: str, fits: bool) -> None:
    assert bool(re.fullmatch(pattern(shown), printed)) == fits
