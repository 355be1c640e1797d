"""``cnnreg new``, in this process."""

from __future__ import annotations

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins


@pytest.fixture
def new(plugins: FakePlugins, cnnreg: Cnnreg) -> Cnnreg:
    return functools.partial(cnnreg, "new")


def test_it_says_what_to_do_next(new: Cnnreg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = new("my_net")
    assert ended == (
        0,
        "Wrote cnnreg-my-net. Next:\n  cd cnnreg-my-net\n  pip install -e .\n  cnnreg check my_net\n",
        "",
    )
    assert (tmp_path / "cnnreg-my-net" / "src" / "cnnreg_my_net" / "_network.py").is_file()


def test_the_folder_it_names_can_be_entered(new: Cnnreg, tmp_path: Path) -> None:
    out = tmp_path / "my plugins"
    ended = new("mynet", "--out", out)
    assert shlex.split(ended.out.splitlines()[1]) == ["cd", str(out / "cnnreg-mynet")]


@pytest.mark.parametrize(
    ("template", "block"), [("plain", "Conv2D_BN"), ("residual", "BasicBlock"), ("inception", "InceptionBlock_3")]
)
def test_a_template_is_built_of_its_blocks(new: Cnnreg, tmp_path: Path, template: str, block: str) -> None:
    assert new("mynet", "--template", template, "--author", "Doe", "--out", tmp_path).code == 0
    folder = tmp_path / "cnnreg-mynet"
    assert f"{block}(" in (folder / "src" / "cnnreg_mynet" / "_network.py").read_text()
    assert " Doe\n" in (folder / "LICENSE").read_text()


def test_a_dataset(new: Cnnreg, tmp_path: Path) -> None:
    ended = new("shapes", "--dataset", "--out", tmp_path)
    assert ended.code == 0
    assert ended.out.endswith("\n  cnnreg check --dataset shapes\n")
    assert "cnn_registry.datasets" in (tmp_path / "cnnreg-shapes" / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["My-Net"], "A new model cannot be named 'My-Net': a name has lower-case letters"),
        (["digits", "--dataset"], "cannot be named 'digits': cnn-registry"),
        (["mynet", "--author", ""], "The author must be a name"),
        (["mynet", "--template", "plan"], "Invalid value for '--template'"),
        (["mynet", "--template", "plain", "--dataset"], "--template is for models, not for --dataset."),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    new: Cnnreg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    here = tmp_path / "here"  # not beside the cache
    here.mkdir()
    monkeypatch.chdir(here)
    ended = new(*arguments)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not list(here.iterdir())


def test_a_second_time_is_refused(new: Cnnreg, tmp_path: Path) -> None:
    new("mynet", "--out", tmp_path)
    ended = new("mynet", "--out", tmp_path, "--template", "residual")
    assert ended.code == 2
    assert "exists already; nothing was written" in ended.err
