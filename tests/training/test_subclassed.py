"""Models whose layers are called by code of their own, without a graph."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry import backend, create_model, evaluate, load_run, predict
from cnn_registry.errors import UsageError
from cnn_registry.runs.history import read_history
from cnn_registry.runs.run import Run
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    import keras

    from tests.conftest import Cnnreg, FakePlugins
else:
    keras = backend.keras()

pytestmark = pytest.mark.slow

train = partial(cnn_registry.train, report=False)
resume = partial(cnn_registry.resume, report=False)
"""Most tests here do not look at the report, which takes as long as the training."""

SETTINGS: dict[str, Any] = UNVARIED | {
    "epochs": 2,
    "batch_size": 8,
    "image_size": 16,
    "optimizer.learning_rate": 0.1,
    "precision": "bfloat16",
    "ema": 0.5,
}

SUBCLASSED = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="A class of its own", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    features={"stride1": cnn_registry.Feature("conv", (16, 16, 4))},
)
def sub(input_shape, num_classes):
    '''A convolution, normalised, behind dropout.'''
    import keras

    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, padding="same")
            self.normalise = keras.layers.BatchNormalization(momentum=0.9)

        def call(self, x, training=None):
            return self.normalise(self.conv(x), training=training)

    class Sub(keras.Model):
        def __init__(self):
            super().__init__(name="sub")
            self.drop = keras.layers.Dropout(0.1)
            self.blocks = [Block(), Block()]
            self.pool = keras.layers.GlobalAveragePooling2D()
            self.classify = keras.layers.Dense(num_classes, activation="softmax")

        def call(self, x, training=None):
            x = self.drop(x, training=training)
            for block in self.blocks:
                x = block(x, training=training)
            return self.classify(self.pool(x))

    return Sub()
"""


@pytest.fixture
def sub(plugins: FakePlugins) -> str:
    plugins.install("cnnreg-sub", source=SUBCLASSED, entries={"sub": "cnnreg_sub:sub"})
    return "sub"


def rows(run: Run) -> list[tuple[float, ...]]:
    return [(row.loss, row.accuracy, row.val_loss, row.val_accuracy) for row in read_history(run.history_csv)]


def weights_of(name: str, path: Path) -> list[np.ndarray]:
    model = create_model(name, num_classes=3, input_shape=(16, 16, 3))
    model.load_weights(path)
    kept: list[np.ndarray] = model.get_weights()
    return kept


def test_it_trains_resumes_evaluates_and_predicts(
    sub: str, colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    left = [8]  # in the second epoch

    def stop(batch: int, logs: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)

    undisturbed = train(sub, data=colours, settings=SETTINGS, out=tmp_path, report=True)
    line = "sub is neither a functional nor a sequential model, so it is trained in float32."
    said = capfd.readouterr().err
    assert said.count(line) == 1
    assert "in bfloat16" not in said
    assert undisturbed.record.recipe.precision == "float32"
    stopping = keras.callbacks.LambdaCallback(on_train_batch_begin=stop)
    stopped = train(sub, data=colours, settings=SETTINGS, out=tmp_path, callbacks=[stopping])
    assert stopped.record.status == "interrupted"
    ended = resume(stopped.path)
    assert rows(ended) == rows(undisturbed)
    for one, other in zip(*(weights_of(sub, run.last_weights) for run in (ended, undisturbed)), strict=True):
        np.testing.assert_array_equal(one, other)
    run = load_run(undisturbed.path)
    assert evaluate(run).accuracy == run.record.result["report"]["accuracy"]
    assert evaluate(run, tta=True).accuracy > 0.5
    [prediction] = predict(run, [colours / "red" / "0.png"], tta=True)
    assert len(prediction.classes) == 3


@pytest.mark.parametrize("setting", ["fine_tuning.freeze", "fine_tuning.layer_decay"])
def test_what_needs_a_graph_is_refused_before_anything_is_written(
    sub: str, colours: Path, tmp_path: Path, setting: str
) -> None:
    value = {"fine_tuning.freeze": "stride1", "fine_tuning.layer_decay": 0.5}[setting]
    with pytest.raises(UsageError, match=f"sub is neither .*, so {setting} cannot be applied; leave it out"):
        train(sub, data=colours, settings=SETTINGS | {setting: value}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_it_goes_through_several_sizes(sub: str, colours: Path, tmp_path: Path) -> None:
    run = train(sub, data=colours, settings=SETTINGS | {"train_sizes": [8, 16]}, out=tmp_path)
    assert len(read_history(run.history_csv)) == 2


def test_its_graph_is_not_shown(sub: str, cnnreg: Cnnreg) -> None:
    ended = cnnreg("info", sub, "--graph")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "sub is neither a functional nor a sequential model, so it has no graph to measure" in ended.err


def test_a_callback_saves_it_with_its_class(sub: str, colours: Path, tmp_path: Path) -> None:
    best = tmp_path / "theirs.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(str(best), save_weights_only=True, verbose=0)
    run = train(sub, data=colours, settings=SETTINGS | {"epochs": 1}, out=tmp_path / "runs", callbacks=[keep])
    for one, other in zip(*(weights_of(sub, path) for path in (best, run.last_weights)), strict=True):
        np.testing.assert_array_equal(one, other)
