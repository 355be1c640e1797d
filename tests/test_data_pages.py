"""The commands of the pages about pictures, data and tuning, on small pictures and with a small network.

A training is planned with ``--dry-run``, which reads the data and checks every setting; searches are parsed. The rest
runs as it is written.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cnn_registry.cli.app import cnnreg as group
from cnn_registry.tuning.space import read_space
from tests.conftest import SETTINGS
from tests.test_docs import BLOCK, ROOT

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, Ended

MODELS = ("lenet5", "resnet18", "alexnet", "inception_v2")
SMALL = {
    "train": ["--set", "decode_size=none", "--set", "train_sizes=[]", "--dry-run"],
    "lr-find": ["--steps", "20", "--set", "image_size=16"],
    "augmented": ["--set", "image_size=16"],
    "data": [],
}
"""What makes a command quick."""


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def commands(name: str) -> Iterator[list[str]]:
    """The words of the indented ``cnnreg`` commands of a page."""
    for line in re.findall(r"^ {4}(cnnreg .*)$", page(name), re.MULTILINE):
        yield shlex.split(line, comments=True)[1:]


@pytest.fixture
def here(tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder: pictures in ``DIR``, one of them in the wrong class, and two tables of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(colours, "DIR")
    Path("DIR/red/0.png").rename("DIR/green/wrong.png")
    files = sorted(Path("DIR").rglob("*.png"))
    rows = [f"{file},{file.parent.name},{file.parent.name},nest {n % 12},1" for n, file in enumerate(files)]
    Path("photos.csv").write_text("\n".join(["path,label,species,nest,weight", *rows, ""]))
    Path("later_test.csv").write_text("\n".join(["path,label,species,nest,weight", *rows[:3], ""]))
    return tmp_path


def run(cnnreg: Cnnreg, words: list[str], tiny: str) -> Ended:
    """Run a command with the small network in place of the page's."""
    changed = [tiny if word in MODELS else word for word in words]
    ended = cnnreg(*changed, *SMALL[words[0]])
    assert ended.code == 0, f"cnnreg {shlex.join(words)}\n{ended.err}"
    return ended


def test_pictures(here: Path, tiny: str, cnnreg: Cnnreg) -> None:
    for language, text in BLOCK.findall(page("pictures")):
        if language == "python" and (file := re.match(r"# (\w+\.py)\n", text)):
            Path(file[1]).write_text(text)
    found = [run(cnnreg, words, tiny) for words in commands("pictures") if "--weights" not in words]
    assert len(found) == 7
    assert any("at 96x160" in ended.out for ended in found)
    assert (here / "sheet.png").is_file()


@pytest.mark.slow
def test_data(here: Path, tiny: str, cnnreg: Cnnreg) -> None:
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    assert cnnreg("train", tiny, "--data", "DIR", "--folds", "2", *settings).code == 0
    [directory] = Path("runs").iterdir()
    for words in commands("data"):
        if any(word.startswith(("hf:", "tfds:")) for word in words):
            continue  # from the packages of other libraries
        Path("page.html").unlink(missing_ok=True)
        given = [str(directory) if word.startswith("runs/") else word for word in words]
        ended = run(cnnreg, given, tiny)
        if "-o" in words:
            assert Path("page.html").is_file()
        if "later_test.csv" in words:
            assert "leak" in ended.out
        if "--run" in words:
            assert "suspect" in ended.out


def test_tuning(here: Path, tiny: str, cnnreg: Cnnreg) -> None:
    searches = 0
    for words in commands("tuning"):
        if words[0] != "tune":
            run(cnnreg, words, tiny)
            continue
        command = group.get_command(click.Context(group), "tune")
        assert command
        command.make_context("tune", words[1:]).close()
        searches += 1
    assert searches >= 4
    assert (here / "lr.png").is_file()
    [space] = [text for language, text in BLOCK.findall(page("tuning")) if language == "toml"]
    Path("mine.toml").write_text(space)
    assert "optimizer.learning_rate" in read_space(Path("mine.toml"))
