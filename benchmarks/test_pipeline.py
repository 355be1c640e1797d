"""The input pipeline alone: from decoded images in memory to the batches of the ``default`` recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cnn_registry import backend, create_model
from cnn_registry.data.cache import LoadedImages
from cnn_registry.data.pipeline import training_batches
from cnn_registry.training.recipe import load_recipe

if TYPE_CHECKING:
    from benchmarks.conftest import Compare

BATCH, IMAGES, STEPS, ROUNDS = 32, 768, 2, 6

LIMIT = 0.05
"""The pipeline takes at most this share of the processor's time for a training step."""

Noise = Callable[[int, int], LoadedImages]


@pytest.mark.parametrize("size", [96, 128, 224])
def test_images(size: int, benchmark: BenchmarkFixture, noise: Noise) -> None:
    batches = epoch(noise(IMAGES, size))
    costs: list[float] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]  # as in conftest
        lambda: costs.append(cpu_seconds(partial(consume, batches))), rounds=ROUNDS, warmup_rounds=1
    )
    assert benchmark.stats is not None
    benchmark.extra_info["images/s"] = f"{IMAGES / benchmark.stats.stats.median:.0f}"
    benchmark.extra_info["processor time"] = f"{1e3 * np.median(costs[1:]) / IMAGES:.2f} ms an image"


def test_share_of_a_step(benchmark: BenchmarkFixture, compare: Compare, noise: Noise) -> None:
    """Of BN-Inception at 128 pixels. Both compete for the same processors, so what counts is processor time."""
    batches = epoch(noise(IMAGES, 128))
    step = training_step(next(iter(batches)))
    compared = compare(
        lambda: cpu_seconds(partial(consume, batches)) / IMAGES,
        lambda: cpu_seconds(partial(repeat, step)) / (STEPS * BATCH),
        ROUNDS,
    )
    pipeline, training = np.median(compared.costs), np.median(compared.references)
    benchmark.extra_info["processor time, pipeline / step"] = compared.summary(4)
    benchmark.extra_info["processor time"] = f"{1e3 * pipeline:.2f} and {1e3 * training:.1f} ms an image"
    compared.check(LIMIT, "the pipeline's processor time, in steps of inception_v2 at 128 pixels")


def epoch(images: LoadedImages) -> Any:
    """One epoch of batches with the default recipe's augmentation."""
    recipe = load_recipe("default")
    return training_batches(
        images,
        np.arange(len(images.dataset)),
        batch_size=BATCH,
        epochs=1,
        seed=0,
        augmentation=recipe.augmentation,
        pixels=recipe.pixels,
    )


def consume(batches: Any) -> None:
    """Read an epoch to its end: what was prefetched is then counted too, and nothing goes on in the background."""
    for _ in batches:
        pass


def training_step(batch: tuple[Any, Any]) -> Callable[[], object]:
    """A step of BN-Inception on one batch in memory, without any pipeline."""
    images, labels = batch
    keras = backend.keras()
    network = create_model("inception_v2", num_classes=labels.shape[1], input_shape=tuple(images.shape[1:]))
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    network.compile(optimizer=optimizer, loss="categorical_crossentropy", jit_compile=False)
    return lambda: network.train_on_batch(images, labels)


def repeat(step: Callable[[], object]) -> None:
    """Take `STEPS` steps."""
    for _ in range(STEPS):
        step()


def cpu_seconds(work: Callable[[], object]) -> float:
    """What all threads of this process spend on ``work``."""
    began = time.process_time()
    work()
    return time.process_time() - began
