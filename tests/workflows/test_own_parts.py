"""A training whose optimizer, schedule, loss, metrics and callbacks come from a module of the user's."""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry.runs.run import Run

pytestmark = pytest.mark.slow

train = partial(cnn_registry.train, report=False)
resume = partial(cnn_registry.resume, report=False)
"""Most tests here do not look at the report, which takes as long as the training."""

MODULE = """
import os, signal
import keras

class Counting(keras.callbacks.Callback):
    "Counts batches, and asks for an end after some of them if the environment says so."

    def __init__(self, start=0):
        super().__init__()
        self.count = start

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        with open(os.environ["COUNTED"], "a") as file:
            print(self.count, file=file)
        if str(self.count) == os.environ.get("STOP_AT"):
            os.kill(os.getpid(), signal.SIGINT)

class Forgetful(keras.callbacks.Callback):
    pass

class Doubled(keras.losses.CategoricalCrossentropy):
    def call(self, y_true, y_pred):
        return 2 * super().call(y_true, y_pred)

def halving(peak, steps, by=0.5):
    return keras.optimizers.schedules.ExponentialDecay(peak, steps, by)
"""

RECIPE = """
extends = "article"
epochs = 3
batch_size = 8
image_size = 16
seed = 3
deterministic = true
precision = "float32"
metrics = ["TopKCategoricalAccuracy,k=2", "AUC"]
callbacks = ["own_parts:Counting,start=100", "own_parts:Forgetful"]
optimizer.name = "lion"
optimizer.learning_rate = 1e-3
schedule.name = "own_parts:halving"
schedule.options = {by = 0.25}
loss.name = "own_parts:Doubled"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_parts.py").write_text(MODULE)
    (tmp_path / "mine.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNREG_OBJECTS", "own_parts")
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    yield tmp_path / "mine.toml"
    sys.modules.pop("own_parts", None)


def weights(run: Run) -> list[np.ndarray]:
    return run_weights(run.path / "last.weights.h5")


def run_weights(path: Path) -> list[np.ndarray]:
    import h5py

    found: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def test_all_are_recorded_and_resumed_where_they_were(
    recipe: Path, tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole = train(tiny, data=colours, recipe=recipe, out=tmp_path / "whole", report=True)
    assert "own_parts:Forgetful may keep is not in checkpoints" in capsys.readouterr().err
    counted = (tmp_path / "counted").read_text().split()
    assert counted[0] == "101"
    steps = len(counted)

    monkeypatch.setenv("STOP_AT", str(100 + steps // 2))
    stopped = train(tiny, data=colours, recipe=recipe, out=tmp_path / "stopped")
    assert stopped.record.status == "interrupted"
    monkeypatch.delenv("STOP_AT")
    resumed = resume(stopped.path)
    assert (tmp_path / "counted").read_text().split()[steps:] == counted
    assert resumed.record.recipe == whole.record.recipe
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)

    with (whole.path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["learning_rate"]) == pytest.approx(1e-3 * 0.25, rel=0.02)
    assert all(0 <= float(row["val_top_k_categorical_accuracy"]) <= 1 for row in rows)
    assert all(0 <= float(row["auc"]) <= 1 for row in rows)
    record = json.loads((whole.path / "run.json").read_text())
    assert record["result"]["best_by"] == "lowest val_loss, own_parts:Doubled"
    assert record["result"]["last"]["metrics"]["val_auc"] == pytest.approx(float(rows[-1]["val_auc"]), rel=1e-6)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_plateau_lowers_the_rate_from_what_the_history_says(tiny: str, colours: Path, tmp_path: Path) -> None:
    settings = {"epochs": 4, "image_size": 16, "schedule": "plateau", "schedule.patience": 1, "schedule.factor": 0.5}
    still = {"optimizer.learning_rate": 1e-30}  # too small for any weight to change, so the loss never falls
    run = train(tiny, data=colours, recipe="article", settings=settings | still, out=tmp_path)
    rates = [float(line.split(",")[5]) for line in (run.path / "history.csv").read_text().splitlines()[1:]]
    assert rates == pytest.approx([1e-30, 1e-30, 5e-31, 2.5e-31])


def test_class_weights_and_balanced_sampling_train(tiny: str, colours: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "image_size": 16, "class_weights": "effective", "sampling": "balanced"}
    run = train(tiny, data=colours, recipe="article", settings=settings, out=tmp_path)
    assert run.record.status == "finished"
    assert (run.record.recipe.class_weights, run.record.recipe.sampling) == ("effective", "balanced")
