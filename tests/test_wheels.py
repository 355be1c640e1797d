"""What users install: wheels, in an environment of their own, with nothing of this checkout on its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"


def run(*command: object, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CNNREG_PLUGINS")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "plugins" / "cnnreg-alexnet"):
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, project]
        run(*command, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def binaries(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that has the two wheels and what they require."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    binaries = environment / ("Scripts" if sys.platform == "win32" else "bin")
    [core], [plugin] = (list(wheels.glob(f"{name}-*.whl")) for name in ("cnn_registry", "cnnreg_alexnet"))
    install = [binaries / "python", "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS]
    run(*install, f"{core}[cpu]", plugin, cwd=environment)
    return binaries


def test_a_plugin_from_its_own_wheel_is_listed_and_trains(binaries: Path, tmp_path: Path) -> None:
    listed = json.loads(run(binaries / "cnnreg", "list", "--json", cwd=tmp_path))
    assert {model["name"]: model["status"] for model in listed}["alexnet"] == "ok"
    assert {model["provider"]["distribution"] for model in listed} == {"cnnreg-alexnet"}

    command = ["train", "alexnet", "--dataset", "digits", "--epochs", "1", "--set", "image_size=29", "--json"]
    trained = json.loads(run(binaries / "cnnreg", *command, cwd=tmp_path))
    assert trained["status"] == "finished"
    assert (tmp_path / trained["run"] / "curves.png").is_file()


def test_the_core_alone_lists_nothing_but_its_own_data_sets(binaries: Path, tmp_path: Path) -> None:
    assert "No model is installed" in run(binaries / "cnnreg", "--no-plugins", "list", cwd=tmp_path)
    names = [row["name"] for row in json.loads(run(binaries / "cnnreg", "datasets", "--json", cwd=tmp_path))]
    assert names == ["digits", "oxflower17"]


def test_types_and_recipes_are_in_the_wheel(binaries: Path, tmp_path: Path) -> None:
    code = "import cnn_registry; print(cnn_registry.__file__)"
    package = Path(run(binaries / "python", "-c", code, cwd=tmp_path).strip()).parent
    assert binaries.parent in package.parents
    assert (package / "py.typed").is_file()
    assert {file.name for file in (package / "training" / "recipes").iterdir()} >= {"article.toml", "default.toml"}
