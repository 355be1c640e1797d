"""What users install: wheels, in an environment of their own, with nothing of this checkout on its path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import BuildWheels, Environment

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def installed(environment: Environment, build_wheels: BuildWheels) -> Iterator[Environment]:
    """The environment with a plugin's wheel beside the core's."""
    environment.pip("install", *build_wheels(ROOT / "plugins" / "cnnreg-lenet"))
    yield environment
    environment.pip("uninstall", "--yes", "cnnreg-lenet")


def test_a_plugin_from_its_own_wheel_is_listed_and_trains(installed: Environment, tmp_path: Path) -> None:
    listed = json.loads(installed.run("cnnreg", "list", "--json", cwd=tmp_path))
    assert {model["name"]: model["status"] for model in listed}["lenet5"] == "ok"
    assert {model["provider"]["distribution"] for model in listed} == {"cnnreg-lenet"}

    command = ["train", "lenet5", "--dataset", "digits", "--epochs", "1", "--json"]
    trained = json.loads(installed.cnnreg(command, cwd=tmp_path)[0])
    assert trained["status"] == "finished"
    assert (tmp_path / trained["run"] / "curves.png").is_file()


def test_the_core_alone_lists_nothing_but_its_own_datasets(installed: Environment, tmp_path: Path) -> None:
    assert "No model is installed" in installed.run("cnnreg", "--no-plugins", "list", cwd=tmp_path)
    names = [row["name"] for row in json.loads(installed.run("cnnreg", "datasets", "--json", cwd=tmp_path))]
    assert names == ["digits", "oxflower17"]


def test_types_and_recipes_are_in_the_wheel(installed: Environment, tmp_path: Path) -> None:
    code = "import cnn_registry; print(cnn_registry.__file__)"
    package = Path(installed.run("python", "-c", code, cwd=tmp_path).strip()).parent
    assert installed.binaries.parent in package.parents
    assert (package / "py.typed").is_file()
    assert {file.name for file in (package / "recipes" / "built_in").iterdir()} >= {"article.toml", "default.toml"}
