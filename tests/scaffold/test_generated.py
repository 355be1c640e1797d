"""What ``cnnreg new`` writes, as users install it: wheels beside the core's, in an environment of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.testing import MODEL_CHECKS

if TYPE_CHECKING:
    from tests.conftest import BuildWheels, Environment

pytestmark = pytest.mark.network

MODELS = {f"my_{template}": template for template in ("plain", "residual", "inception")}
DATASET = "my_shapes"
LEFT_OUT = ("trains", "seed", "mixed-float16", "mixed-bfloat16", "keras-file", "weights-file", "backends")
"""What the guide checks with the template plain: the recipe, the initializers and the layers are the same in all."""
DISTRIBUTIONS = [f"cnnreg-{name.replace('_', '-')}" for name in (*MODELS, DATASET)]


@pytest.fixture(scope="module")
def installed(
    environment: Environment, build_wheels: BuildWheels, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """The environment with a package of every template, written by the installed command."""
    folder = tmp_path_factory.mktemp("packages")
    for name, template in MODELS.items():
        environment.run("cnnreg", "new", name, "--template", template, cwd=folder)
    environment.run("cnnreg", "new", DATASET, "--dataset", cwd=folder)
    environment.pip("install", *build_wheels(*folder.iterdir()))
    yield environment
    environment.pip("uninstall", "--yes", *DISTRIBUTIONS)


def test_all_are_listed(installed: Environment, tmp_path: Path) -> None:
    listed = json.loads(installed.run("cnnreg", "list", "--json", cwd=tmp_path))
    listed += json.loads(installed.run("cnnreg", "datasets", "--json", cwd=tmp_path))
    found = {item["name"]: item for item in listed if item["name"] in (*MODELS, DATASET)}
    assert {name: item["status"] for name, item in found.items()} == dict.fromkeys((*MODELS, DATASET), "ok")
    providers = [found[name]["provider"] for name in (*MODELS, DATASET)]
    assert [(provider["distribution"], provider["version"]) for provider in providers] == [
        (distribution, "0.1.0") for distribution in DISTRIBUTIONS
    ]


def test_all_pass_the_conformance_kit_and_one_trains_on_the_new_dataset(installed: Environment, tmp_path: Path) -> None:
    """The guide for plugin authors, whose commands test_docs.py runs, does so with the template plain."""
    names = [name for name, template in MODELS.items() if template != "plain"]
    only = [word for check in MODEL_CHECKS if check.name not in LEFT_OUT for word in ("--only", check.name)]
    train = ["train", "my_residual", "--dataset", DATASET, "--epochs", "1", "--set", "image_size=16"]
    commands = [["check", *names, *only, "--json"], ["check", "--dataset", DATASET, "--json"], [*train, "--json"]]
    *checks, trained = map(json.loads, installed.cnnreg(*commands, cwd=tmp_path))
    assert trained["status"] == "finished"
    assert (tmp_path / trained["run"] / "best.weights.h5").is_file()
    checked = [result for results in checks for result in results]
    assert {result["outcome"] for result in checked} <= {"passed", "skipped"}
    passed = {(result["model"], result["check"]) for result in checked if result["outcome"] == "passed"}
    needed = [(name, check) for name in names for check in ("parameters", "macs", "smallest", "features", "learns")]
    assert passed >= {*needed, (DATASET, "images")}
