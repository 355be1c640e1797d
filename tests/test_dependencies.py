"""What is required is imported, what is imported is required, and models can be built without what training needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cnn_registry.system.extras import DISTRIBUTIONS, TRAIN

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

MODULES = {"pillow": "PIL", "pydantic": "pydantic", "scikit-learn": "sklearn", "tensorflow-cpu": "tensorflow"}
"""The module of a distribution that has another name."""

COMES_WITH = {
    "markupsafe": "jinja2",
    "ml_dtypes": "keras",
    "pydantic_core": "pydantic",
    "sqlalchemy": "optuna",
    "starlette": "fastapi",
}
"""A module of a distribution that belongs to a required one."""

USERS_OWN = {"IPython", "pillow_heif", "pytest", "torch"}
"""What is used where it is installed; a message or the documentation says when it is needed."""


def module(requirement: str) -> str:
    name = re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]
    return MODULES.get(name, name.replace("-", "_"))


REQUIRED = {module(requirement) for requirement in PROJECT["dependencies"]}
EXTRAS = {
    module(requirement) for requirements in PROJECT["optional-dependencies"].values() for requirement in requirements
} - {"cnn_registry"}


def imports(tree: ast.AST) -> Iterator[str]:
    """Top-level modules that are imported in a file, except for type checking."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.orelse:
                yield from imports(ast.Module([statement], []))
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        else:
            match node:
                case ast.Call(func=ast.Name("import_module"), args=[ast.Constant(str(name))]):
                    yield name.partition(".")[0]
            yield from imports(node)


@cache
def imported() -> set[str]:
    """What is imported anywhere, read by the first test and not by every worker that collects it."""
    return {
        name
        for file in ROOT.glob("src/**/*.py")
        for name in imports(ast.parse(file.read_text(encoding="utf-8")))
        if name not in {*sys.stdlib_module_names, "cnn_registry", ""}
    }


def test_everything_that_is_imported_is_required() -> None:
    unknown = {COMES_WITH.get(name, name) for name in imported()} - REQUIRED - EXTRAS - USERS_OWN
    assert unknown == set()


def test_everything_that_is_required_is_imported() -> None:
    assert not REQUIRED - imported()
    assert {module(requirement) for requirement in PROJECT["optional-dependencies"][TRAIN]} <= imported()


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_an_extra_with_tensorflow_is_enough_to_train(extra: str) -> None:
    assert f"cnn-registry[{TRAIN}]" in PROJECT["optional-dependencies"][extra]


def test_what_training_needs_is_what_its_extra_installs() -> None:
    assert {module(requirement) for requirement in PROJECT["optional-dependencies"][TRAIN]} == DISTRIBUTIONS.keys()


WITHOUT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(DISTRIBUTIONS)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def command(*arguments: str) -> str:
    """The code of a process that runs ``cnnreg`` without those packages."""
    run = 'import runpy; runpy.run_module("cnn_registry", run_name="__main__", alter_sys=True)'
    return f"{WITHOUT}\nsys.argv = {['cnnreg', *arguments]!r}\n{run}"


def test_a_model_is_built_and_predicts_without_what_training_needs(
    trained: Path, colours: Path, run_python: Any
) -> None:
    code = f"""
from pathlib import Path
from cnn_registry import create_model, load_run, predict
assert create_model("tiny", num_classes=3, input_shape=(16, 16, 3)).output_shape == (None, 3)
[prediction] = predict(load_run({str(trained)!r}), [Path({str(colours / "red" / "0.png")!r})])
assert prediction.classes[0][0] == "red", prediction
"""
    done = run_python("-c", WITHOUT + code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["info", "tiny"], ["datasets"], ["recipes"]])
def test_listing_needs_none_of_it(tiny: str, run_python: Any, arguments: list[str]) -> None:
    done = run_python("-c", command(*arguments))
    assert (done.returncode, done.stderr) == (0, "")


def test_training_is_refused_in_one_line_before_anything_is_written(
    tiny: str, colours: Path, tmp_path: Path, run_python: Any
) -> None:
    done = run_python("-c", command("train", tiny, "--data", str(colours), "--out", str(tmp_path / "runs")))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: Training needs Jinja2, matplotlib, SciPy and scikit-learn, which are not installed. "
        "Install with: pip install 'cnn-registry[train]'"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
