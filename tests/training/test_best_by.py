"""Which epoch is the best, and what early stopping and the plateau watch."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from cnn_registry import backend, resume, train
from cnn_registry.errors import RecipeError, RunError, UsageError
from cnn_registry.recipes.load import load_recipe
from cnn_registry.recipes.schema import BestBy
from cnn_registry.runs.history import Epoch, best_epoch, has_stalled, stalls
from cnn_registry.training.keras_objects import BalancedAccuracy, MacroF1
from tests.conftest import UNVARIED

keras = backend.keras()

SETTINGS: dict[str, Any] = UNVARIED | {"epochs": 3, "batch_size": 8, "image_size": 16, "optimizer.learning_rate": 0.1}


def epoch(number: int, loss: float, accuracy: float, f1: float) -> Epoch:
    metrics = {"val_macro_f1": f1, "val_balanced_accuracy": 1 - f1}
    return Epoch(number, 1.0, 0.5, loss, accuracy, 0.1, 2.0, 16.0, metrics)


HISTORY = [epoch(1, 2.0, 0.2, 0.9), epoch(2, 1.0, 0.3, 0.1), epoch(3, 3.0, 0.4, math.nan), epoch(4, 1.5, 0.4, 0.2)]


@pytest.mark.parametrize(
    ("by", "best", "stall"),
    [("val_loss", 2, 2), ("accuracy", 3, 1), ("balanced_accuracy", 2, 2), ("macro_f1", 1, 3), ("last", 4, 0)],
)
def test_the_best_epoch_is_the_first_with_the_best_measure(by: BestBy, best: int, stall: int) -> None:
    assert best_epoch(HISTORY, by).epoch == best
    assert has_stalled(HISTORY, stall or 1, 0.0, by) == bool(stall)
    assert not has_stalled(HISTORY, stall + 1, 0.0, by)
    assert stalls(HISTORY, 2, by) == (1 if stall >= 2 else 0)


@pytest.mark.parametrize("kind", [BalancedAccuracy, MacroF1])
def test_metrics_are_scikit_learns(kind: Any) -> None:
    random = np.random.default_rng(0)
    true, scores = random.choice([0, 1, 2, 2, 2, 4], 90), random.random((90, 5)).astype("float32")  # 3 is missing
    scores[np.arange(90), true] += 0.5
    scores[:, 3] = 0
    metric = kind()
    for part in np.array_split(np.arange(90), 4):
        metric.update_state(np.eye(5, dtype="float32")[true[part]], scores[part])
    of = {BalancedAccuracy: balanced_accuracy_score, MacroF1: lambda *y: f1_score(*y, average="macro")}[kind]
    assert float(metric.result()) == pytest.approx(of(true, scores.argmax(axis=1)), rel=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.slow
def test_a_run_keeps_and_resumes_the_measure(tiny: str, colours: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"best_by": "macro_f1", "early_stopping.patience": 3}
    seen: list[int] = []

    def count(batch: int, logs: Any) -> None:
        seen.append(batch)
        if len(seen) == 9:
            signal.raise_signal(signal.SIGINT)

    stop = keras.callbacks.LambdaCallback(on_train_batch_end=count)
    cut = train(tiny, data=colours, settings=settings, out=tmp_path, callbacks=[stop])
    with pytest.raises(RunError, match="best_by cannot be changed in the middle"):
        resume(cut.path, settings={"best_by": "accuracy"}, force=True)
    ended = resume(cut.path)
    assert [set(row.metrics) for row in ended.history] == [{"macro_f1", "val_macro_f1"}] * 3
    assert ended.record.result["best_by"] == "highest val_macro_f1"
    best = ended.record.result["best"]
    assert best["metrics"]["val_macro_f1"] == max(row.metrics["val_macro_f1"] for row in ended.history)
    report = json.loads((ended.path / "report.json").read_text())
    assert report["measures"]["macro_f1"]["value"] == pytest.approx(best["metrics"]["val_macro_f1"], abs=1e-6)


def test_the_last_epoch_can_be_the_best(tiny: str, colours: Path, tmp_path: Path) -> None:
    run = train(tiny, data=colours, settings=SETTINGS | {"best_by": "last"}, out=tmp_path, report=False)
    assert run.record.result["best"] == run.record.result["last"]
    assert run.best_weights.read_bytes() == run.last_weights.read_bytes()
    assert not (run.path / "report.json").exists()


@pytest.mark.parametrize("also", [{"early_stopping.patience": 2}, {"schedule": "plateau"}])
def test_what_watches_needs_a_measure(also: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="best_by = last watches nothing"):
        load_recipe("default").with_settings({"best_by": "last", **also})


def test_a_metric_of_the_same_name_is_refused(tiny: str, colours: Path, tmp_path: Path) -> None:
    settings = {"best_by": "macro_f1", "metrics": ["F1Score,name=macro_f1,average=macro"]}
    with pytest.raises(UsageError, match="best_by = macro_f1 measures 'macro_f1' itself"):
        train(tiny, data=colours, settings=settings, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
