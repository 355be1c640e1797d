"""The input pipeline alone, from decoded images in memory to the batches of a recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cnn_registry import Recipe, get_spec
from cnn_registry.data.pipeline.batches import training_batches
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.recipes.load import load_recipe
from cnn_registry.workflows.plan import chosen_recipe, settled

from .common import model_record, our_network

if TYPE_CHECKING:
    from benchmarks.conftest import Compare

BATCH, IMAGES, STEPS, ROUNDS = 32, 768, 2, 6

MODEL, SIZE, DECODED = "inception_v2", 128, 160

LIMIT = 0.03
"""Maximum CPU time of the pipeline, as a share of that of a training step."""

Noise = Callable[[int, int], LoadedImages]


@pytest.mark.parametrize("size", [96, 128, 224])
def test_images(size: int, benchmark: BenchmarkFixture, noise: Noise) -> None:
    batches = epoch(noise(IMAGES, size), load_recipe("default"), size)
    costs: list[float] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]  # as in conftest
        lambda: costs.append(cpu_seconds(partial(consume, batches))), rounds=ROUNDS, warmup_rounds=1
    )
    assert benchmark.stats is not None
    benchmark.extra_info["images/s"] = f"{IMAGES / benchmark.stats.stats.median:.0f}"
    benchmark.extra_info["CPU time"] = f"{1e3 * np.median(costs[1:]) / IMAGES:.2f} ms per image"


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])
def test_share_of_a_step(mixed: bool, benchmark: BenchmarkFixture, compare: Compare, noise: Noise) -> None:
    """Compare with a step of BN-Inception at 128 pixels, with its own recipe, which rotates images and mixes some.

    The pipeline and the step compete for the same cores, so CPU time is what counts.
    """
    images = noise(IMAGES, DECODED)
    recipe = settled(chosen_recipe(get_spec(MODEL), None, {"image_size": SIZE}), get_spec(MODEL), images.dataset).recipe
    mixing = {"mixing.since": 0.0} if mixed else {"mixing.mixup": 0.0, "mixing.cutmix": 0.0}
    batches = epoch(images, recipe.with_settings(mixing), SIZE)
    step = training_step(recipe, next(iter(batches)))
    compared = compare(
        lambda: cpu_seconds(partial(consume, batches)) / IMAGES,
        lambda: cpu_seconds(partial(repeat, step)) / (STEPS * BATCH),
        ROUNDS,
    )
    pipeline, training = np.median(compared.costs), np.median(compared.references)
    benchmark.extra_info["CPU time, pipeline / step"] = compared.summary(4)
    benchmark.extra_info["CPU time"] = f"{1e3 * pipeline:.2f} and {1e3 * training:.1f} ms per image"
    benchmark.extra_info["precision"] = recipe.precision
    compared.check(LIMIT, f"the pipeline's CPU time, in steps of {MODEL} at {SIZE} pixels")


def epoch(images: LoadedImages, recipe: Recipe, size: int) -> Any:
    """One epoch of a recipe's batches at one image size."""
    return training_batches(
        images,
        np.arange(len(images.dataset)),
        batch_size=BATCH,
        epochs=1,
        seed=0,
        augmentation=recipe.augmentation,
        mixing=recipe.mixing,
        pixels=recipe.pixels,
        sizes=(size,),
    )


def consume(batches: Any) -> None:
    """Read an epoch to its end, so that prefetching is counted and nothing continues in the background."""
    for _ in batches:
        pass


def training_step(recipe: Recipe, batch: tuple[Any, Any]) -> Callable[[], object]:
    """A training step of the model that `train` builds, on one batch in memory, without the pipeline."""
    images, labels = batch
    network = our_network(get_spec(MODEL), model_record(get_spec(MODEL), SIZE, recipe.model), recipe, IMAGES)
    return lambda: network.train_on_batch(images, labels)


def repeat(step: Callable[[], object]) -> None:
    """Take `STEPS` steps."""
    for _ in range(STEPS):
        step()


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of ``work``, over all threads of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began
