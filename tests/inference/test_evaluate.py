"""Evaluation of a trained run."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnn_registry import refresh
from cnn_registry.errors import CnnRegistryError, DataError, RunError, UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.inference.evaluation import Evaluation
from cnn_registry.inference.predict import predict
from cnn_registry.runs.run import Run

if TYPE_CHECKING:
    from tests.conftest import FakePlugins


def test_a_report_counts_what_was_predicted() -> None:
    probabilities = np.eye(3, dtype="float32")[[0, 0, 1, 1]]
    evaluation = Evaluation(("a", "b", "c"), np.array([0, 1, 1, 1]), probabilities, "four images")
    report = evaluation.report()
    assert report["accuracy"] == 0.75
    assert report["confusion"] == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    a, b, c = report["classes"]
    assert (a["precision"], a["recall"], a["images"]) == (0.5, 1.0, 1)
    assert (b["precision"], b["recall"], b["images"]) == (1.0, pytest.approx(2 / 3), 3)
    assert (c["precision"], c["recall"], c["images"]) == (0.0, 0.0, 0)


def test_the_loss_is_the_mean_cross_entropy() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], "float32")
    evaluation = Evaluation(("a", "b"), np.array([0, 1]), probabilities, "two images")
    assert evaluation.loss == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)


def test_a_run_is_evaluated_on_its_own_validation_images(trained: Path) -> None:
    run = Run.open(trained)
    evaluation = evaluate(run)
    assert evaluation.accuracy == run.record.result["report"]["accuracy"]
    assert len(evaluation.labels) == 12
    assert evaluation.part == "val images of the run"


@pytest.mark.parametrize(("part", "count"), [("train", 48), ("val", 12), ("all", 60)])
def test_each_part_of_the_own_images(trained: Path, part: str, count: int) -> None:
    assert len(evaluate(Run.open(trained), part=part).labels) == count  # type: ignore[arg-type]  # parametrised


def test_a_limit_of_pixels_is_for_other_images(trained: Path, tmp_path: Path) -> None:
    run = Run.open(trained)
    for use in (lambda: evaluate(run, max_pixels=10**9), lambda: run.export("keras", tmp_path / "e", max_pixels=10**9)):
        with pytest.raises(UsageError, match=r"--max-pixels is for other images, which --data names"):
            use()
    assert not (tmp_path / "e").exists()


def test_evaluating_again_and_again_is_not_a_reason_for_tensorflow_to_warn(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    accuracies = {evaluate(Run.open(trained), part="all").accuracy for _ in range(6)}
    assert len(accuracies) == 1
    assert not caplog.messages


def test_a_part_that_the_split_has_not(trained: Path) -> None:
    with pytest.raises(UsageError, match="no test images"):
        evaluate(Run.open(trained), part="test")


def test_the_same_images_elsewhere_are_split_as_in_the_run(trained: Path, colours: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(colours, tmp_path / "moved"))
    assert len(evaluate(Run.open(trained), data=moved).labels) == 12


def test_other_images_are_evaluated_all_with_labels_by_name(trained: Path, colours: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name in ("green", "red"):  # without blue, the labels are others than the run's
        shutil.copytree(colours / name, other / name)
    evaluation = evaluate(Run.open(trained), data=other)
    assert set(evaluation.labels) == {1, 2}
    assert evaluation.accuracy == 1.0
    assert len(evaluation.labels) == 40


def test_images_of_classes_unknown_to_the_run_are_left_out_and_counted(
    trained: Path, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(colours / "red", other / "red")
    shutil.copytree(colours / "green", other / "violet")
    evaluation = evaluate(Run.open(trained), data=other)
    names = Run.open(trained).record.data.class_names
    assert evaluation.class_names == tuple(names)
    assert set(evaluation.labels.tolist()) == {names.index("red")}
    images = len(list((other / "violet").iterdir()))
    said = f"{images} images of {other} left out, of 1 class that the model does not know: 'violet'."
    assert said in capsys.readouterr().err
    shutil.rmtree(other / "red")
    with pytest.raises(DataError, match=r"has no class that the model knows. It has 1 class .*: 'violet'"):
        evaluate(Run.open(trained), data=other)


def test_one_class_alone_can_be_evaluated(trained: Path, colours: Path, tmp_path: Path) -> None:
    shutil.copytree(colours / "green", tmp_path / "other" / "green")
    evaluation = evaluate(Run.open(trained), data=tmp_path / "other")
    assert evaluation.report()["images"] == len(list((colours / "green").iterdir()))


def test_images_that_changed_since_the_run_are_refused(trained: Path, colours: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(colours, tmp_path / "changed"))
    (changed / "red" / "0.png").unlink()
    run = Run.open(trained)
    data = run.record.data.model_copy(update={"given": str(changed), "source": str(changed)})
    with pytest.raises(DataError, match="have changed since the run"):
        evaluate(Run(run.path, run.record.model_copy(update={"data": data})))


def test_missing_weights_are_one_error(trained: Path) -> None:
    (trained / "best.weights.h5").unlink()
    with pytest.raises(RunError, match=r"no best\.weights\.h5"):
        evaluate(Run.open(trained))
    assert evaluate(Run.open(trained), weights="last").accuracy == 1.0


def test_damaged_weights_are_one_error(trained: Path) -> None:
    file = trained / "best.weights.h5"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CnnRegistryError, match=r"best\.weights\.h5"):
        evaluate(Run.open(trained))


def test_a_model_that_is_not_installed_is_one_error(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", "cnnreg-tiny")
    with pytest.raises(RunError, match=r"comes from cnnreg-tiny 1\.0, which may not provide plugins here"):
        evaluate(Run.open(trained))
    monkeypatch.delenv("CNNREG_DISABLE_PLUGINS")
    run = Run.open(trained)
    provider = run.record.model.spec["provider"]
    for changes, words in (
        ({"version": "0.9"}, r"cnnreg-tiny 0\.9, and the installed 1\.0 .* pip install 'cnnreg-tiny==0\.9'"),
        ({"distribution": "cnnreg-gone"}, r"which is not installed\. .* pip install 'cnnreg-gone==1\.0'"),
    ):
        spec = {**run.record.model.spec, "name": "other", "provider": {**provider, **changes}}
        gone = Run(trained, run.record.model_copy(update={"model": run.record.model.model_copy(update={"spec": spec})}))
        with pytest.raises(RunError, match=words):
            evaluate(gone)


def test_a_plugin_that_builds_another_network_by_now_is_refused_unless_forced(
    trained: Path, plugins: FakePlugins, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shapes and the names are the same, so the weights would load without a word."""
    before = evaluate(Run.open(trained)).loss
    [module] = plugins.root.rglob("cnnreg_tiny.py")
    module.write_text(module.read_text().replace('activation="relu"', 'activation="sigmoid"'))
    [info] = plugins.root.rglob("cnnreg_tiny-1.0.dist-info")
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("Version: 1.0", "Version: 1.1"))
    sys.modules.pop("cnnreg_tiny", None)
    refresh()
    with pytest.raises(
        RunError, match=r"trained with cnnreg-tiny 1\.0; cnnreg-tiny 1\.1 builds another network.*1\.0'"
    ):
        evaluate(Run.open(trained))
    with pytest.raises(RunError, match="builds another network"):
        predict(trained, [trained / "curves.png"])
    assert evaluate(Run.open(trained), force=True).loss != before
    assert "anyway" in capsys.readouterr().err


def test_images_that_were_trained_on_are_counted(trained: Path, own_colours: Path, tmp_path: Path) -> None:
    run = Run.open(trained)
    assert evaluate(run).part == "val images of the run"
    assert evaluate(run, part="train").part == "train images of the run"
    assert evaluate(run, part="all").part == "all images, 48 of which the model was trained on"
    # The same pictures under other names, some of them only.
    for file in own_colours.rglob("*.png"):
        file.rename(file.with_name(f"copy-{file.name}"))
    (next(iter((own_colours / "red").iterdir()))).unlink()
    found = evaluate(run, data=own_colours)
    assert len(found.labels) == 59
    assert re.fullmatch(r"all images of colours, 4[78] of which the model was trained on", found.part)
