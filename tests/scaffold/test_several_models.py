"""``cnnreg new --models a,b``: one package, several models."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.testing import check_model

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

LONG = "long_name_of_thirty_characters"


def test_each_model_is_declared_built_and_tested(plugins: FakePlugins, cnnreg: Cnnreg, tmp_path: Path) -> None:
    models = ["small", LONG]
    ended = cnnreg("new", "family", "--models", ", ".join(models), "--template", "residual", "--out", tmp_path)
    assert ended.code == 0
    assert ended.out.endswith("\n  cnnreg check --plugin cnnreg-family\n")
    folder = tmp_path / "cnnreg-family"
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = project["entry-points"]["cnn_registry.models"]
    assert entries == {model: f"cnnreg_family.{model}:{model}" for model in models}
    assert f"The models 'small', '{LONG}' for" in project["description"]
    assert sorted(path.name for path in (folder / "tests").iterdir()) == sorted(f"test_{model}.py" for model in models)
    for command in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    site = plugins.install("cnnreg-family", source="", entries=entries).parent
    (site / "cnnreg_family.py").unlink()
    (folder / "src" / "cnnreg_family").rename(site / "cnnreg_family")
    only = ["light-import", "spec", "parameters", "macs", "features", "names", "no-tensorflow"]
    assert [result.outcome for model in models for result in check_model(model, only=only)] == ["passed"] * 14


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "small,small"], "The models need different names; got small, small."),
        (["--models", "small,"], "A new model cannot be named ''"),
        (["--models", "tiny"], "A new model cannot be named 'tiny': cnnreg-tiny"),
        (["--models", "small", "--dataset"], "--models is for models, not for --dataset."),
        (["--models", "small", "--template", "recipe"], "the template 'recipe' is not one"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    tiny: str, cnnreg: Cnnreg, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = cnnreg("new", "family", "--out", tmp_path / "out", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
