"""Measure how cost grows: images per second and memory, by image size, batch size and dataset size.

    python -m benchmarks.scaling

For image and batch size, it measures training steps of ResNet-18 with the recipe ``default``, one process after
another. For dataset size, it measures the pipeline alone with the same recipe, on images of 32 pixels. These are either
in a file mapped into memory, or decoded from JPEG files each time they are read (1,000 files, repeated to the size of
the dataset). Memory is the peak of the process's own memory, without mapped files, which the system can reclaim.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from .common import (
    CLASSES,
    Facts,
    Worker,
    begin,
    in_memory,
    in_turn,
    median,
    model_record,
    our_network,
    random_pixels,
    save,
    serve,
)

MODEL = "resnet18"

STEP_SIZES = ((64, 32), (96, 32), (128, 32), (160, 32), (224, 32), (96, 4), (96, 8), (96, 16), (96, 64))
"""Edge length in pixels, and images per batch."""

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
"""Images in a dataset."""

SOURCES = ("mapped", "streamed")

TINY, TINY_BATCH, FILES = 32, 64, 1000
"""Edge length in pixels, images per batch, and files on disk, for the measurements of the pipeline."""


def step_side(size: int, batch: int) -> None:
    """Training steps at one image and batch size."""
    from cnn_registry import get_spec
    from cnn_registry.data.pipeline.batches import training_batches
    from cnn_registry.recipes.load import load_recipe

    spec, images, recipe = get_spec(MODEL), random_pixels(batch, size), load_recipe("default")
    network = our_network(spec, model_record(spec, size, {}), recipe, batch)
    every = np.arange(batch)
    options: Any = {"seed": 0, "augmentation": recipe.augmentation, "pixels": recipe.pixels}
    batches = iter(training_batches(images, every, batch_size=batch, epochs=10_000, **options))
    steps = max(1, 128 * 96**2 // (batch * size**2))
    _serve(lambda: network.train_on_batch(*next(batches)), batch, steps)


def pipeline_side(kind: str, count: int, directory: Path) -> None:
    """Batches of a dataset of ``count`` images, in random order."""
    from cnn_registry.data.form import Form
    from cnn_registry.data.paths import PathsBelow
    from cnn_registry.data.pipeline.batches import training_batches
    from cnn_registry.data.sources.files import Files, StreamedImages
    from cnn_registry.data.sources.memory import ArrayImages
    from cnn_registry.recipes.load import load_recipe

    pixels = np.asarray(np.load(directory / "images.npy", mmap_mode="r")[:count])
    names = [file.name for file in sorted(directory.glob("*.jpg"))]
    source: Any = ArrayImages(pixels)
    if kind == "streamed":
        files = Files(PathsBelow(directory, [names[index % FILES] for index in range(count)]))
        source = StreamedImages(files, Form.of(TINY))
    images = in_memory(pixels, np.arange(count) % CLASSES, source)
    recipe = load_recipe("default")
    batches = training_batches(
        images,
        np.arange(count),
        batch_size=TINY_BATCH,
        epochs=10_000,
        seed=0,
        augmentation=recipe.augmentation,
        pixels=recipe.pixels,
    )
    each = iter(batches)
    _serve(lambda: next(each), TINY_BATCH, 100)


def _serve(step: Callable[[], object], batch: int, steps: int) -> None:
    """Warm up, then time ``steps`` steps on each request."""
    process = psutil.Process()

    def measure() -> Facts:
        cpu, began, memory = time.process_time(), time.perf_counter(), 0
        for _ in range(steps):
            step()
            used = process.memory_info()
            memory = max(memory, used.rss - used.shared)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return {"images_per_second": batch * steps / seconds, "cpu": cpu / (batch * steps), "memory": memory}

    for _ in range(2):
        step()
    serve({}, measure)


def row(facts: Facts, measured: list[Facts]) -> Facts:
    """Summarize the rounds of one measurement; ``facts`` are its conditions."""
    return facts | {
        "images_per_second": [round(found["images_per_second"], 2) for found in measured],
        "cpu_ms_per_image": round(1e3 * median(measured, "cpu"), 3),
        "memory_mib": round(max(found["memory"] for found in measured) / 2**20),
    }


def make_images(directory: Path) -> None:
    """Write the largest dataset as one file of raw pixels, and the JPEG files."""
    from PIL import Image

    block = np.random.default_rng(0).integers(0, 256, (10_000, TINY, TINY, 3), np.uint8)
    everything = np.lib.format.open_memmap(
        directory / "images.npy", mode="w+", dtype=np.uint8, shape=(max(COUNTS), TINY, TINY, 3)
    )
    for start in range(0, max(COUNTS), len(block)):
        everything[start : start + len(block)] = block
    everything.flush()
    for number, pixels in enumerate(block[:FILES]):
        Image.fromarray(pixels).save(directory / f"{number:04}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    match asked.side:
        case ["step", size, batch]:
            step_side(int(size), int(batch))
            return
        case [kind, count, directory]:
            pipeline_side(kind, int(count), Path(directory))
            return
    script = "benchmarks.scaling"
    facts: Facts = begin() | {"model": MODEL, "tiny_size": TINY, "steps": [], "pipeline": []}
    with TemporaryDirectory() as directory:
        make_images(Path(directory))
        for kind in SOURCES:
            workers = {str(count): Worker(script, "--side", kind, count, directory) for count in COUNTS}
            facts["flags"] = {"all": workers[str(COUNTS[0])].ready["flags"]}
            measured = in_turn(workers, asked.rounds)
            facts["pipeline"] += [row({"source": kind, "images": int(n)}, rows) for n, rows in measured.items()]
    save("scaling", facts)
    for size, batch in STEP_SIZES:
        measured = in_turn({"step": Worker(script, "--side", "step", size, batch)}, asked.rounds)
        facts["steps"].append(row({"size": size, "batch_size": batch}, measured["step"]))
        print(json.dumps(facts["steps"][-1]), file=sys.stderr)
        save("scaling", facts)


if __name__ == "__main__":
    main()
