"""Cross-validation, on a model that trains in a second."""

from __future__ import annotations

import inspect
import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from cnn_registry.errors import UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.report import inspection
from cnn_registry.runs.run import Run
from cnn_registry.workflows.cross_validate import train_folds
from cnn_registry.workflows.train import train
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = UNVARIED | {
    "epochs": 2,
    "batch_size": 8,
    "image_size": 16,
    "optimizer.learning_rate": 0.1,
    "ema": None,
}


def test_each_image_is_validated_once_and_reported_on(tiny: str, colours: Path, tmp_path: Path) -> None:
    folds = train_folds(tiny, 2, data=colours, settings=SETTINGS, out=tmp_path)
    every = [image for run in folds.runs for image in run.record.split.val]
    assert sorted(every) == sorted({*folds.runs[0].record.split.train, *folds.runs[0].record.split.val})
    report, summary = (json.loads((folds.path / name).read_text()) for name in ("report.json", "folds.json"))
    assert report["images"] == len(every)
    right = sum(evaluate(run, weights="last").accuracy * len(run.record.split.val) for run in folds.runs)
    assert report["accuracy"] == pytest.approx(right / len(every))
    assert summary["mean"] == folds.mean == statistics.fmean(fold["accuracy"] for fold in summary["folds"])
    assert [Run.open(folds.path / fold["run"]).path for fold in summary["folds"]] == [run.path for run in folds.runs]
    assert (folds.path / "confusion.png").stat().st_size > 0


def test_label_errors_are_found_in_the_images_of_the_folds_alone(
    tiny: str, colours: Path, own_colours: Path, tmp_path: Path
) -> None:
    pytest.importorskip("imagehash")
    folds = train_folds(tiny, 2, data=colours, settings=SETTINGS, out=tmp_path / "runs", report=False)
    assert inspection.inspect(own_colours, run=folds.path).items  # the same images elsewhere
    Image.new("RGB", (22, 18)).save(own_colours / "red" / "0.png")
    with pytest.raises(UsageError, match=r"is a cross-validation on other images than those of .*colours\. Name"):
        inspection.inspect(own_colours, run=folds.path)


def test_it_takes_the_arguments_of_train() -> None:
    own, of_train = (inspect.signature(function).parameters for function in (train_folds, train))
    assert of_train.keys() <= own.keys()
    shared = own.keys() & of_train.keys()
    assert {name: own[name].default for name in shared} == {name: of_train[name].default for name in shared}


def test_the_command(tiny: str, colours: Path, tmp_path: Path, cnnreg: Cnnreg) -> None:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    arguments = ["train", tiny, "--data", str(colours), "--out", str(tmp_path), "--folds", "2", *settings]
    code, out, _ = cnnreg(*arguments)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["fold", "fold-1-of-2", "fold-2-of-2"]
    assert "mean 100.0%, standard deviation 0.0%" in out
    [summary] = tmp_path.glob("*/folds.json")
    code, out, _ = cnnreg(*arguments, "--resume", summary.parent, "--json")
    assert (code, len(json.loads(out)["folds"])) == (0, 2)


def test_what_cannot_be_is_refused_before_anything_is_written(
    tiny: str, colours: Path, tmp_path: Path, cnnreg: Cnnreg
) -> None:
    with pytest.raises(UsageError, match="leave the split 'stratified' out"):
        train_folds(tiny, 3, data=colours, split="stratified", out=tmp_path / "runs")
    code, _, err = cnnreg("train", tiny, "--data", str(colours), "--out", str(tmp_path / "runs"), "--folds", "500")
    assert code == 1
    assert "too few for 500 folds" in err
    assert not (tmp_path / "runs").exists()
