"""Measure prediction for many pictures: decoding beside computing, and memory.

    python -m benchmarks.batches --data FOLDER [--model resnet18] [--size 96] [--links 200000]

The network has random weights. In each round the pictures are decoded, then computed from memory, then predicted, which
does both at a time; the ratio is that of a round, so that other load on the machine affects all three alike. For the
memory, a folder of links to one small picture is predicted and written as lines of JSON; the resident memory is read on
the way.
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
from cnn_registry.inference.pictures import decoded_batches
from cnn_registry.inference.predict import Prediction, predictions
from cnn_registry.inference.predictor import Predictor
from cnn_registry.inference.results import LineFile, json_row
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
    """How long predicting takes beside the larger of decoding and computing."""
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

    measured: dict[str, list[float]] = {"decode": [], "compute": [], "both": []}
    for _ in range(rounds):
        for name, work in (("decode", decode), ("compute", compute), ("both", both)):
            began = time.perf_counter()
            work()
            measured[name].append(time.perf_counter() - began)
    ratios = [b / max(d, c) for d, c, b in zip(*(measured[k] for k in ("decode", "compute", "both")), strict=True)]
    median = float(np.median(measured["both"]))
    return {
        "model": model,
        "size": size,
        "images": len(pictures),
        "seconds": {name: [round(value, 2) for value in values] for name, values in measured.items()},
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
    facts: Facts = begin()
    if asked.data:
        facts["overlap"] = overlap(asked.data, asked.model, asked.size, asked.rounds)
        print(json.dumps(facts["overlap"]))
    if asked.links:
        facts["memory"] = memory(asked.links)
        print(json.dumps(facts["memory"]))
    save("batches", facts)


if __name__ == "__main__":
    main()
