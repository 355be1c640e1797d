"""A step of `train` compared with the same step in plain Keras: the cost of the library's pipeline and callbacks."""

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

from cnn_registry import Recipe, backend, create_model, get_spec
from cnn_registry.data.dataset import Split
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.recipes.load import load_recipe
from cnn_registry.runs.record import RunRecord
from cnn_registry.runs.run import Run
from cnn_registry.training.fit import Fit, Images
from cnn_registry.training.options import RunOptions

from .common import model_record

if TYPE_CHECKING:
    from benchmarks.conftest import Compare

SIZE, BATCH, STEPS, ROUNDS = 96, 32, 6, 5

LIMIT = 1.1
"""The target is 1: our step is no slower. The rest allows for the variation of equal steps on a busy machine."""

Training = Callable[[Any], object]
"""Trains for an epoch, with one Keras callback."""


@pytest.mark.parametrize("model", ["alexnet", "inception_v2"])
def test_step(
    model: str, benchmark: BenchmarkFixture, compare: Compare, noise: Callable[[int, int], LoadedImages]
) -> None:
    images = noise(STEPS * BATCH, SIZE)
    # This recipe does exactly what the plain code does.
    recipe = load_recipe("article").with_settings({"epochs": 1, "batch_size": BATCH})
    plain = plain_training(model, images)
    with TemporaryDirectory() as directory:
        ours = our_training(model, images, recipe, Path(directory))
        compared = compare(partial(seconds_a_step, ours), partial(seconds_a_step, plain), ROUNDS)
    speeds = 1 / np.median(compared.costs), 1 / np.median(compared.references)
    benchmark.extra_info["a step, ours / plain Keras"] = compared.summary(3)
    benchmark.extra_info["steps/s"] = "{:.2f} ours, {:.2f} plain Keras".format(*speeds)
    compared.check(LIMIT, f"a step of {model}, relative to plain Keras")


def plain_training(model: str, images: LoadedImages) -> Training:
    """Training without the library: the images as floats in memory, and Keras' own `fit`."""
    classes = len(images.dataset.class_names)
    network = create_model(model, num_classes=classes, input_shape=(SIZE, SIZE, 3))
    network.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    x = images.source.read(np.arange(len(images.dataset))) / np.float32(255)
    y = backend.keras().utils.to_categorical(images.dataset.labels, classes)
    return lambda callback: network.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[callback])


def our_training(model: str, images: LoadedImages, recipe: Recipe, directory: Path) -> Training:
    """An epoch of `train`: its pipeline, its callbacks, its files."""
    spec, every = get_spec(model), np.arange(len(images.dataset))
    split = Split(train=every, val=every[:BATCH], test=every[:0])
    run = Run(directory, RunRecord.model_construct())
    fit = Fit(spec, model_record(spec, SIZE, {}), recipe, Images(images, images), split)
    return lambda callback: fit.train(run, RunOptions([callback]))


def seconds_a_step(training: Training) -> float:
    """Mean time per step, from the end of the first step to the end of the last, so without the start of `fit`."""
    ends: list[float] = []

    def note_end(batch: int, logs: object) -> None:
        ends.append(time.perf_counter())

    training(backend.keras().callbacks.LambdaCallback(on_train_batch_end=note_end))
    return (ends[-1] - ends[0]) / (len(ends) - 1)
