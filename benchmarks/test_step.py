"""A step of `train` beside the same step in plain Keras: what the library's pipeline and callbacks add to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cnn_registry import backend, create_model, get_spec
from cnn_registry.data.cache import LoadedImages
from cnn_registry.data.dataset import Split
from cnn_registry.training.loop import build_trainable, fit
from cnn_registry.training.recipe import Recipe, load_recipe
from cnn_registry.training.run import ModelRecord, Run, RunRecord

if TYPE_CHECKING:
    from benchmarks.conftest import Compare

SIZE, BATCH, STEPS, ROUNDS = 96, 32, 8, 7
SLACK = 1.05
"""A step of ours may take so many times the plain step: the target is no more, the rest is noise."""


@pytest.mark.parametrize("recipe", ["article", "default"])
@pytest.mark.parametrize("model", ["alexnet", "inception_v2"])
def test_step(
    model: str,
    recipe: str,
    benchmark: BenchmarkFixture,
    compare: Compare,
    noise: Callable[[int, int], LoadedImages],
) -> None:
    images = noise(STEPS * BATCH, SIZE)
    plain = plain_training(model, images)
    settings = load_recipe(recipe).with_settings({"epochs": 1, "batch_size": BATCH, "optimizer.learning_rate": 1e-4})
    with TemporaryDirectory() as directory:
        ours = our_training(model, images, settings, Path(directory))
        compared = compare(partial(seconds_a_step, ours), partial(seconds_a_step, plain), ROUNDS)
    benchmark.extra_info["our step / plain Keras' step"] = compared.summary(3)
    benchmark.extra_info["steps/s"] = (
        f"{1 / np.median(compared.costs):.2f} ours, {1 / np.median(compared.references):.2f} plain Keras"
    )
    compared.check(SLACK, f"a step of {model}")


Training = Callable[[Any], object]
"""Trains for an epoch with one Keras callback."""


def plain_training(model: str, images: LoadedImages) -> Training:
    """What one would write without the library: the images as floats in memory, and Keras' `fit`."""
    keras = backend.keras()
    network = create_model(model, num_classes=17, input_shape=(SIZE, SIZE, 3))
    network.compile("adam", "categorical_crossentropy", ["accuracy"], jit_compile=False)
    x = images.source.read(np.arange(len(images.dataset))).astype(np.float32) / 255
    y = keras.utils.to_categorical(images.dataset.labels, 17)
    return lambda callback: network.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[callback])


def our_training(model: str, images: LoadedImages, recipe: Recipe, directory: Path) -> Training:
    """What `train` does in an epoch: its pipeline, its callbacks, its files."""
    spec = get_spec(model)
    record = ModelRecord(spec=spec.to_dict(), options={}, num_classes=17, input_shape=(SIZE, SIZE, 3))
    network = build_trainable(record, recipe, len(images.dataset))
    everything = np.arange(len(images.dataset))
    split = Split(train=everything, val=everything[:BATCH], test=everything[:0])
    run = Run(directory, RunRecord.model_construct())
    return lambda callback: fit(network, images, split, recipe, run, callbacks=[callback])


def seconds_a_step(training: Training) -> float:
    """The mean from the end of the first step to the end of the last: `fit`'s own start does not count."""
    ends: list[float] = []
    training(backend.keras().callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())))
    return (ends[-1] - ends[0]) / (len(ends) - 1)
