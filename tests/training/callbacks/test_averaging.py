"""The average of the weights: what it is, and who has it when."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cnn_registry
from cnn_registry import backend, create_model
from cnn_registry.runs.history import best_epoch, read_history
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.training.callbacks.averaging import WeightAverage
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    import keras

    from tests.conftest import FakePlugins
else:
    keras = backend.keras()

train = partial(cnn_registry.train, report=False)
resume = partial(cnn_registry.resume, report=False)
"""Most tests here do not look at the report, which takes as long as the training."""

SETTINGS: dict[str, Any] = UNVARIED | {
    "epochs": 3,
    "batch_size": 8,
    "image_size": 16,
    "optimizer.learning_rate": 0.1,
    "ema": 1.0,
}


def in_validation(steps_per_epoch: int, epochs: int, every: int, steps: float, idle: int) -> list[float]:
    """What a weight is in each validation, where its own value in each step is a power of 1.1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.full((1, 1), -1000)])  # untrained
    progress = TrainingProgress(steps_per_epoch)
    average = WeightAverage(model, steps, progress, idle)
    average.EVERY = every
    seen = []
    for epoch in range(epochs):
        average.on_epoch_begin(epoch)
        for batch in range(steps_per_epoch):
            progress.step += 1
            model.set_weights([np.full((1, 1), value(progress.step, idle))])
            average.on_train_batch_end(batch)
        average.on_test_begin()
        seen.append(float(model.get_weights()[0][0, 0]))
        average.on_test_end()
        average.on_epoch_end(epoch)
        progress.history.append(None)  # type: ignore[arg-type]  # it is only counted
    average.on_epoch_begin(epochs)
    assert model.get_weights()[0] == pytest.approx(value(progress.step, idle))
    return seen


def value(step: int, idle: int) -> float:
    return float(-1000.0 if step <= idle else 1.1**step)


def by_definition(steps_per_epoch: int, epochs: int, every: int, steps: float, idle: int) -> list[float]:
    """The same from the definition: a weighted mean over steps, of the value at the reading that stands for each."""
    total = steps_per_epoch * epochs
    readings = [step for step in range(1, total + 1) if step % every == 0 or step % steps_per_epoch == 0]
    means = []
    for last in range(steps_per_epoch, total + 1, steps_per_epoch):
        counted = np.arange(min(idle, last - 1) + 1, last + 1)
        values = [value(next(reading for reading in readings if reading >= step), idle) for step in counted]
        weights = np.exp(-(last - counted) / steps)
        means.append(float(np.average(values, weights=weights)))
    return means


@pytest.mark.parametrize("idle", [0, 1])
@pytest.mark.parametrize("every", [1, 3, 4])
@pytest.mark.parametrize("steps_per_epoch", [1, 3, 4, 13])
def test_it_is_the_weighted_mean_of_its_definition(steps_per_epoch: int, every: int, idle: int) -> None:
    for steps in (0.2, 3.0, 1e4):
        arguments = (steps_per_epoch, 3, every, steps, idle)
        assert in_validation(*arguments) == pytest.approx(by_definition(*arguments), rel=1e-4), arguments


def test_an_average_longer_than_the_training_is_the_plain_mean() -> None:
    [found] = in_validation(steps_per_epoch=6, epochs=1, every=1, steps=1e6, idle=0)
    assert found == pytest.approx(np.mean([1.1**step for step in range(1, 7)]), rel=1e-4)


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (4, 3)])
def test_few_steps_leave_trained_weights(tiny: str, colours: Path, tmp_path: Path, epochs: int, warmup: int) -> None:
    """Batches of all images: one step per epoch."""
    settings = SETTINGS | {"epochs": epochs, "batch_size": 48, "schedule.warmup_epochs": warmup, "ema": 2.0}
    run = train(tiny, data=colours, settings=settings, out=tmp_path)
    losses = [row.val_loss for row in read_history(run.history_csv)]
    still = 1 if epochs > 3 else 0  # the first step of a warm-up has a rate of zero
    assert len(set(losses[still:])) == epochs - still
    model = create_model(tiny, num_classes=3, input_shape=(16, 16, 3))
    model.load_weights(run.last_weights)
    keras.utils.set_random_seed(0)
    untrained = create_model(tiny, num_classes=3, input_shape=(16, 16, 3))
    for trained, start in zip(model.weights, untrained.weights, strict=True):
        assert not np.array_equal(trained, start)


class Held(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """The weights that the model has at the ends of epochs, and the validation loss that is reported there."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[list[np.ndarray]] = []
        self.losses: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights.append(self.model.get_weights())
        self.losses.append(logs["val_loss"])


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def weights_of(name: str, path: Path) -> list[np.ndarray]:
    model = create_model(name, num_classes=3, input_shape=(16, 16, 3))
    model.load_weights(path)
    kept: list[np.ndarray] = model.get_weights()
    return kept


def test_callbacks_of_the_user_hold_at_the_end_of_an_epoch_what_validation_has_measured(
    tiny: str, colours: Path, tmp_path: Path
) -> None:
    held = Held()
    best = tmp_path / "theirs.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(
        str(best), monitor="val_loss", save_best_only=True, save_weights_only=True, verbose=0
    )
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path / "runs", callbacks=[held, keep])
    history = read_history(run.history_csv)
    assert held.losses == pytest.approx([row.val_loss for row in history])
    chosen = best_epoch(history).epoch - 1
    assert_same(weights_of(tiny, run.best_weights), held.weights[chosen])
    assert_same(weights_of(tiny, run.last_weights), held.weights[-1])
    assert_same(weights_of(tiny, best), held.weights[chosen])


@pytest.mark.parametrize("ema", [None, 1.0])
def test_what_a_callback_restores_is_kept_as_the_last_weights(
    tiny: str, colours: Path, tmp_path: Path, ema: float | None
) -> None:
    held = Held()
    restore = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=1, min_delta=100.0, restore_best_weights=True, baseline=-1.0
    )
    settings = SETTINGS | {"epochs": 9, "ema": ema}
    run = train(tiny, data=colours, settings=settings, out=tmp_path, callbacks=[held, restore])
    assert run.record.status == "stopped early"
    assert restore.best_epoch == 0 < len(held.weights) - 1
    assert_same(weights_of(tiny, run.last_weights), held.weights[0])


COUNTER = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="Counts its steps", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
)
def counting(input_shape, num_classes):
    '''A convolution behind a layer with weights of its own: an integer, a boolean, two floating-point numbers.'''
    import keras

    class Count(keras.layers.Layer):
        def build(self, shape):
            def own(name, dtype):
                return self.add_weight(name=name, shape=(), dtype=dtype, initializer="zeros", trainable=False)

            self.steps, self.began = own("steps", "int32"), own("began", "bool")
            self.double, self.half = own("double", "float64"), own("half", "bfloat16")

        def call(self, x, training=None):
            if training:
                self.steps.assign(self.steps + 1)
                self.began.assign(True)
                self.double.assign(self.double + 1)
                self.half.assign(self.half + 1)
            return x

    inputs = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(Count(name="count")(inputs)))
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="counting")
"""


@pytest.fixture
def counting(plugins: FakePlugins) -> str:
    plugins.install("cnnreg-counting", source=COUNTER, entries={"counting": "cnnreg_counting:counting"})
    return "counting"


def assert_counted(weights: list[np.ndarray]) -> None:
    """In 18 steps, of which the average of floating-point numbers lags behind."""
    steps, began, double, half = weights[:4]
    assert (int(steps), bool(began)) == (18, True)
    assert 6 < double < 18
    assert float(half) == pytest.approx(double, abs=0.1)


def test_weights_of_other_types_are_trained_by_adamw(counting: str, colours: Path, tmp_path: Path) -> None:
    run = train(counting, data=colours, settings=SETTINGS | {"optimizer.name": "adamw"}, out=tmp_path)
    assert_counted(loaded(counting, run.last_weights))


def test_weights_of_other_types_are_trained_by_sgd_saved_and_resumed(
    counting: str, colours: Path, tmp_path: Path
) -> None:
    settings = SETTINGS | {"optimizer.name": "sgd"}
    left = [8]

    def stop(batch: int, logs: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)

    undisturbed = train(counting, data=colours, settings=settings, out=tmp_path)
    stopping = keras.callbacks.LambdaCallback(on_train_batch_begin=stop)
    stopped = train(counting, data=colours, settings=settings, out=tmp_path, callbacks=[stopping])
    assert (stopped.record.status, len(read_history(stopped.history_csv))) == ("interrupted", 1)
    ended = resume(stopped.path)
    found, expected = (loaded(counting, run.last_weights) for run in (ended, undisturbed))
    assert_same(found, expected)
    assert_counted(found)


def loaded(name: str, path: Path) -> list[np.ndarray]:
    model = create_model(name, num_classes=3, input_shape=(16, 16, 3))
    model.load_weights(path)
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]
