"""Measure prediction for many pictures: decoding beside computing, and memory.

    python -m benchmarks.batches --data FOLDER [--model resnet18] [--size 96] [--links 200000]

The network has random weights. In each round the pictures are decoded, then computed from memory, then predicted, which
does both at a time. Decoding and computing both use all processors, so predicting cannot take less than the time of
either, nor less than the processor time of both divided by the number of processors; the ratio is to the largest of
these. It is that of a round, so that other load on the machine affects all three alike. For the memory, a folder of
links to one small picture is predicted and written as lines of JSON; the resident memory is read on the way.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from cnn_registry import create_model
from cnn_registry.backend import usable_cpus
from cnn_registry.inference.line_file import LineFile
from cnn_registry.inference.pictures import decoded_batches
from cnn_registry.inference.predict import Prediction, predictions
from cnn_registry.inference.prediction_rows import json_row
from cnn_registry.inference.predictor import Predictor
from cnn_registry.inference.sources import find_pictures

from .common import CLASSES, Facts, begin, save

NOTHING = io.BufferedReader(io.BytesIO())
"""In place of standard input."""


def predictor(model: str, size: int) -> Predictor:
    """A network with random weights."""
    return Predictor(
        size,
        "unit",
        lambda: [create_model(model, num_classes=CLASSES, input_shape=(size, size, 3))],
        lambda: [f"class {number}" for number in range(CLASSES)],
    )


def overlap(data: Path, model: str, size: int, rounds: int) -> Facts:
    """How long predicting takes beside decoding, computing, and what both need of the processors."""
    pictures = list(find_pictures([str(data)], NOTHING))
    network = predictor(model, size)
    batches = [batch.readable for batch in decoded_batches(pictures, size)]
    network(np.zeros((32, size, size, 3), np.uint8))

    def decode() -> None:
        for _ in decoded_batches(pictures, size):
            pass

    def compute() -> None:
        for batch in batches:
            if batch is not None:
                network(batch)

    def both() -> None:
        for _ in predictions(network, pictures, on_bad_image="skip"):
            pass

    works = {"decode": decode, "compute": compute, "both": both}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    of_processors: dict[str, list[float]] = {name: [] for name in works}
    ratios = []
    for _ in range(rounds):
        for name, work in works.items():
            began, began_processors = time.perf_counter(), time.process_time()
            work()
            seconds[name].append(time.perf_counter() - began)
            of_processors[name].append(time.process_time() - began_processors)
        shared = (of_processors["decode"][-1] + of_processors["compute"][-1]) / usable_cpus()
        ratios.append(seconds["both"][-1] / max(seconds["decode"][-1], seconds["compute"][-1], shared))
    median = float(np.median(seconds["both"]))
    return {
        "model": model,
        "size": size,
        "images": len(pictures),
        "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "processor_seconds": {name: [round(value, 2) for value in values] for name, values in of_processors.items()},
        "ratio": round(float(np.median(ratios)), 3),
        "images_per_second": round(len(pictures) / median, 1),
    }


def memory(links: int) -> Facts:
    """The resident memory after so many pictures, in MB."""
    network, found = predictor("lenet5", 32), {}
    with tempfile.TemporaryDirectory() as folder:
        picture, many = Path(folder) / "picture.png", Path(folder) / "links"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(picture)
        many.mkdir()
        for number in range(links):
            (many / f"{number:07}.png").symlink_to(picture)
        marks = [mark for mark in (1_000, 10_000, 100_000, 1_000_000) if mark < links] + [links]
        began = time.perf_counter()
        with LineFile(Path(folder) / "results.jsonl") as lines:
            for count, prediction in enumerate(_predicted(network, many), start=1):
                lines.write([json_row(prediction)])
                if count in marks:
                    found[f"{count:,}"] = round(psutil.Process().memory_info().rss / 1e6, 1)
                    print(f"{count:,} pictures: {found[f'{count:,}']} MB", file=sys.stderr)
        seconds = time.perf_counter() - began
    return {"links": links, "resident_mb": found, "images_per_second": round(links / seconds, 1)}


def _predicted(network: Predictor, folder: Path) -> Iterator[Prediction]:
    return predictions(network, find_pictures([str(folder)], NOTHING))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of photographs")
    parser.add_argument("--model", default="resnet18", help="network (default: resnet18)")
    parser.add_argument("--size", type=int, default=96, help="edge length in pixels (default: 96)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--links", type=int, default=0, help="also measure the memory with so many links (default: 0)")
    asked = parser.parse_args()
    options = f" --data {asked.data.name} --model {asked.model} --size {asked.size}" if asked.data else ""
    options += f" --links {asked.links}" if asked.links else ""
    facts: Facts = begin(f"python -m benchmarks.batches{options}")
    if asked.data:
        facts["overlap"] = overlap(asked.data, asked.model, asked.size, asked.rounds)
        print(json.dumps(facts["overlap"]))
    if asked.links:
        facts["memory"] = memory(asked.links)
        print(json.dumps(facts["memory"]))
    save("batches", facts)


if __name__ == "__main__":
    main()
