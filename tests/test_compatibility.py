"""Plugins, imports and runs from before the modules moved still work; ``fixtures/b288143`` has some of them."""

from __future__ import annotations

import importlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import cnn_registry
from cnn_registry import evaluate, get_spec, load_recipe, load_run, resume
from cnn_registry.data import load_dataset
from cnn_registry.runs import Run, read_history

if TYPE_CHECKING:
    from tests.conftest import BuildWheels, Environment, FakePlugins

FIXTURE = Path(__file__).parent / "fixtures" / "b288143"
PACKAGES = ("cnnreg-old-net", "cnnreg-old-shapes")
CHECKED = ("light-import", "parameters", "weights-file", "learns")
"""Checks of the old network that need the old declaration, its layers and a new process. It is also trained."""


@pytest.fixture(scope="module")
def wheels(build_wheels: BuildWheels, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheels of the old plugins, built from a copy."""
    copies = shutil.copytree(FIXTURE, tmp_path_factory.mktemp("old") / "b288143")
    return build_wheels(*(copies / package for package in PACKAGES))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with copies of the old runs."""
    with tarfile.open(FIXTURE / "runs.tar.xz") as archive:
        archive.extractall(tmp_path / "runs", filter="data")
    return tmp_path / "runs"


@pytest.fixture
def old(plugins: FakePlugins, wheels: list[Path]) -> None:
    """The old plugins in this process."""
    for wheel in wheels:
        plugins.unpack(wheel)


def versions_only(run: Run) -> bool:
    """Whether nothing but versions of libraries had changed when a run was resumed."""
    [resumption] = run.record.resumed
    return {change.partition(" was ")[0] for change in resumption.changed} <= run.record.versions.keys()


def training(run: Run) -> np.ndarray:
    """Loss and accuracy on the training images, ``(epochs, 2)``. Validation has an average that is now another one."""
    return np.array([[epoch.loss, epoch.accuracy] for epoch in read_history(run.history_csv)])


def test_an_old_plugin_is_described_without_a_warning(old: None) -> None:
    spec = get_spec("old_net")
    assert (spec.provider.distribution, spec.trainable_params) == ("cnnreg-old-net", 21_344)
    assert spec.api_version == 1


def test_an_old_dataset_plugin_warns_of_the_moved_module(old: None) -> None:
    with pytest.warns(
        DeprecationWarning, match=r"^cnn_registry\.data\.registry has moved: import register_dataset from"
    ):
        dataset = load_dataset("old_shapes", None)
    assert (len(dataset), dataset.class_names) == (300, ("circle", "square", "triangle"))


@pytest.mark.filterwarnings("ignore:.*rate_decay:DeprecationWarning")
def test_an_old_plugins_recipe_settings_are_read(old: None) -> None:
    recipe = load_recipe("fine_tune").with_settings(get_spec("old_net").recipe_settings["fine_tune"])
    assert 0.5 in recipe.to_dict()["fine_tuning"].values()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:cnn_registry.data.registry has moved:DeprecationWarning")
def test_an_old_finished_run_has_its_accuracy(old: None, runs: Path) -> None:
    run = load_run(runs / "finished")
    for weights in ("best", "last"):
        evaluation = evaluate(run, weights=weights)
        assert evaluation.accuracy == pytest.approx(run.record.result["last"]["val_accuracy"])
        assert evaluation.loss == pytest.approx(run.record.result["last"]["val_loss"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:cnn_registry.data.registry has moved:DeprecationWarning")
def test_an_old_run_that_was_interrupted_ends_like_the_one_that_was_not(old: None, runs: Path) -> None:
    finished = load_run(runs / "finished")
    run = resume(runs / "interrupted", force=True)  # which library versions there are is not the point
    assert run.record.status == "finished"
    assert versions_only(run)
    assert [resumption.step for resumption in run.record.resumed] == [13]
    assert run.record.recipe == finished.record.recipe
    np.testing.assert_allclose(training(run), training(finished), rtol=0.02)
    assert run.record.result["last"]["val_loss"] < 0.8  # 1.13 after the first epoch


@pytest.mark.network
@pytest.mark.slow
def test_old_wheels_list_check_train_and_resume_in_an_environment(
    environment: Environment, wheels: list[Path], runs: Path, tmp_path: Path
) -> None:
    environment.pip("install", "--no-deps", *wheels)
    try:
        in_an_environment(environment, runs, tmp_path)
    finally:
        environment.pip("uninstall", "--yes", *PACKAGES)


def in_an_environment(environment: Environment, runs: Path, folder: Path) -> None:
    Image.new("RGB", (40, 30), "white").save(folder / "white.png")
    commands: list[tuple[object, ...]] = [
        ("list",),
        ("datasets",),
        ("check", "old_net", *(word for name in CHECKED for word in ("--only", name))),
        ("check", "--dataset", "old_shapes"),
        ("train", "old_net", "--dataset", "digits", "--epochs", "1"),
        ("evaluate", runs / "finished"),
        ("predict", runs / "finished", folder / "white.png"),
        ("train", "--resume", runs / "interrupted", "--force"),
    ]
    printed = environment.cnnreg(*([*command, "--json"] for command in commands), cwd=folder)
    models, datasets, *checked, trained, evaluated, predictions, resumed = map(json.loads, printed)

    listed = {item["name"]: item["status"] for item in [*models, *datasets]}
    assert (listed["old_net"], listed["old_shapes"]) == ("ok", "ok")

    outcomes = {(row["model"], row["check"]): row["outcome"] for rows in checked for row in rows}
    assert "failed" not in outcomes.values()
    assert {*(outcomes["old_net", name] for name in CHECKED), outcomes["old_shapes", "images"]} == {"passed"}

    assert trained["status"] == "finished"

    finished = json.loads((runs / "finished" / "run.json").read_text())["result"]["last"]
    assert evaluated["accuracy"] == pytest.approx(finished["val_accuracy"])

    [predicted] = predictions
    assert {found["class"] for found in predicted["classes"]} == {"circle", "square", "triangle"}

    assert resumed["status"] == "finished"
    assert versions_only(Run.open(runs / "interrupted"))
    assert resumed["result"]["last"]["loss"] == pytest.approx(finished["loss"], rel=0.02)


def old_paths() -> Iterator[tuple[str, str, str]]:
    """Old module, name, and the public module that has it now."""
    moved = {
        "cnn_registry.data.registry": ("cnn_registry.data", ["register_dataset"]),
        "cnn_registry.download": ("cnn_registry.data", ["download"]),
        "cnn_registry.folds": ("cnn_registry", ["train_folds", "Folds"]),
        "cnn_registry.paths": ("cnn_registry.data", ["datasets_dir"]),
        "cnn_registry.registry": ("cnn_registry", ["create_model", "get_spec", "list_models", "register_model"]),
        "cnn_registry.resumption": ("cnn_registry", ["resume"]),
        "cnn_registry.spec": (
            "cnn_registry",
            ["API_VERSION", "DatasetSpec", "Feature", "ModelSpec", "Paper", "Pixels", "Pretrained", "Provider"],
        ),
        "cnn_registry.training.history": ("cnn_registry.runs", ["Epoch", "read_history"]),
        "cnn_registry.training.recipe": ("cnn_registry", ["Recipe", "load_recipe"]),
        "cnn_registry.training.run": ("cnn_registry.runs", ["DataRecord", "ModelRecord", "Run", "RunRecord"]),
        "cnn_registry.workflow": ("cnn_registry", ["train"]),
    }
    for old, (new, names) in moved.items():
        yield from ((old, name, new) for name in names)


@pytest.mark.parametrize(("old", "name", "new"), list(old_paths()))
def test_an_old_path_warns_and_names_the_new_one(old: str, name: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match="has moved") as warned:
        exec(f"from {old} import {name} as found", namespace := {"__name__": "a_plugin"})
    assert namespace["found"] is getattr(importlib.import_module(new), name)
    assert {str(warning.message) for warning in warned} == {f"{old} has moved: import {name} from {new}."}
    assert {warning.filename for warning in warned} == {"<string>"}


@pytest.mark.parametrize("old", sorted({old for old, _, _ in old_paths()}))
def test_an_old_path_has_nothing_but_public_names(old: str) -> None:
    module = importlib.import_module(old)
    with pytest.raises(AttributeError, match=rf"^module '{old}' has no attribute 'no_such_name'$"):
        _ = module.no_such_name


STAYED = [
    "blocks.residual:StrideIn",
    "data.dataset:ImageDataset",
    "data.folder:load_folder",
    "data.loading:load_dataset",
]


@pytest.mark.parametrize("path", STAYED)
def test_paths_that_older_pages_named_are_still_there(path: str) -> None:
    module, name = path.split(":")
    face = getattr(cnn_registry, module.partition(".")[0])
    assert getattr(importlib.import_module(f"cnn_registry.{module}"), name) is getattr(face, name)
