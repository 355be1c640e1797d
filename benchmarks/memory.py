"""Measure the memory that a training needs at its peak, beside plain Keras and PyTorch.

    python -m benchmarks.memory

Every side is a process of its own that takes some training steps with the same network on the same images, and
reports the most memory that it ever held (``ru_maxrss``), with its libraries. Plain Keras is the network as in a
script, trained by `fit` with Adam in float32 on float arrays; PyTorch likewise (`benchmarks.pytorch`). Ours is `train`
without its report: with the recipe ``article``, which has the same network, optimizer and precision, and with
``default``, which computes in bfloat16 where the CPU can and keeps an average of the weights. Ours also validates.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from cnn_registry.data.dataset import ImageDataset

from .common import CLASSES, DEFAULT_FLAGS, Facts, begin, environment, random_pixels, save

BATCH, STEPS = 32, 4

IMAGES = 170
"""`train` holds out a fifth of them."""

SIZES = {"alexnet": 224, "vgg16": 96, "inception_v2": 128}
"""The networks, and the sizes of their images in pixels."""


def plain_side(model: str) -> None:
    """An epoch of a script without the library."""
    from . import plain

    x, y = _arrays(model)
    plain.compiled(model, SIZES[model]).fit(x, y, batch_size=BATCH, verbose=0)


def pytorch_side(model: str) -> None:
    """The same steps of a script with PyTorch."""
    from . import pytorch

    x, y = _arrays(model)
    take, _ = pytorch.step(model, SIZES[model], x[:BATCH], y[:BATCH])
    for _ in range(STEPS):
        take()


def our_side(model: str, recipe: str) -> None:
    """The same steps of `train`, and its validation."""
    from cnn_registry import register_dataset, train

    size = SIZES[model]

    @register_dataset(summary="Random pixels", num_classes=CLASSES, num_images=IMAGES)
    def noise(source: Path | None) -> ImageDataset:
        return replace(random_pixels(IMAGES, size).dataset, labels=np.arange(IMAGES) % CLASSES)

    settings = {"batch_size": BATCH, "epochs": 1, "train_sizes": [size], "image_size": size}
    with TemporaryDirectory() as directory:
        train(model, dataset="noise", recipe=recipe, settings=settings, out=directory, report=False)


def _arrays(model: str) -> tuple[Any, Any]:
    """The images with pixels from 0 to 1, and their labels."""
    images = random_pixels(IMAGES, SIZES[model])
    return images.source.read(np.arange(STEPS * BATCH)) / np.float32(255), images.dataset.labels[: STEPS * BATCH]


SIDES: Mapping[str, Callable[[str], None]] = {
    "plain": plain_side,
    "pytorch": pytorch_side,
    "ours, article": lambda model: our_side(model, "article"),
    "ours, default": lambda model: our_side(model, "default"),
}


def peak(model: str, side: str) -> int:
    """The most bytes that a side's process ever held."""
    command = [sys.executable, "-m", "benchmarks.memory", "--side", side, "--model", model]
    flags = DEFAULT_FLAGS if side == "plain" else {}
    done = subprocess.run(command, env=environment(flags), stdout=subprocess.PIPE, text=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each side (default: 2)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", choices=SIZES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        SIDES[asked.side](asked.model)
        print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    facts: Facts = begin() | {"batch_size": BATCH, "steps": STEPS, "rows": []}
    for model, size in SIZES.items():
        sides = [side for side in SIDES if side != "pytorch" or importlib.util.find_spec("torch")]
        measured = {side: [peak(model, side) for _ in range(asked.rounds)] for side in sides}
        facts["rows"].append({"model": model, "size": size, "peaks": measured})
        print(json.dumps(facts["rows"][-1]), file=sys.stderr)
        save("memory", facts)


if __name__ == "__main__":
    main()
