"""Measure what weights of classes and balanced sampling do for small classes, on the 17 flowers with unequal classes.

    python -m benchmarks.imbalance --data 17flowers [--model resnet18] [--size 48] [--epochs 15] [--seeds 3]

Each second class keeps 3 of its training images, the others 60, which is 80 to 4. The validation images, 20 of each
class, stay equal, so that macro F1 counts each class alike. Everything else is the recipe `default`. The figures are
those of the last weights. Each finished run is written into ``results/imbalance.json`` immediately; the next call
trains those that are missing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from cnn_registry import CnnRegistryError, backend, train
from cnn_registry.data.loading import load_dataset
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.system.progress import note

from .common import RESULTS, Facts, begin, load, save, write_flowers

WAYS: dict[str, Facts] = {
    "none": {},
    "class_weights = balanced": {"class_weights": "balanced"},
    "class_weights = effective": {"class_weights": "effective"},
    "sampling = balanced": {"sampling": "balanced"},
}
"""The settings that are compared."""

MANY, FEW, HELD_OUT = 60, 3, 20
"""Training images of a large and of a small class, and validation images of each."""


def parts(label: int) -> list[str]:
    """The parts of the images of a class: first those for validation."""
    return ["val"] * HELD_OUT + ["train"] * (FEW if label % 2 else MANY)


def figures(confusion: np.ndarray, small: np.ndarray) -> Facts:
    """Macro F1, accuracy, and the mean recall of the large and of the small classes."""
    hits = np.diag(confusion)
    f1 = 2 * hits / np.maximum(confusion.sum(0) + confusion.sum(1), 1)
    recalls = hits / confusion.sum(1)
    return {
        "macro_f1": f1.mean(),
        "accuracy": hits.sum() / confusion.sum(),
        "recall_large": recalls[~small].mean(),
        "recall_small": recalls[small].mean(),
    }


def trained(asked: argparse.Namespace, table: Path, out: Path, way: str, seed: int) -> Facts:
    """Train one network, and measure it on the validation images."""
    before = load()
    settings = {"epochs": asked.epochs, "image_size": asked.size, "seed": seed, **WAYS[way]}
    run = train(asked.model, data=table, settings=settings, out=out, report=False)
    if run.record.status != "finished":
        raise SystemExit("Stopped; the same command trains what is missing.")
    confusion = np.array(evaluate(run, part="val", weights="last").report()["confusion"])
    listed = [load_dataset("oxflower17", asked.data).class_names.index(name) for name in run.class_names]
    found = {name: round(float(value), 4) for name, value in figures(confusion, np.array(listed) % 2 == 1).items()}
    minutes = sum(row.seconds for row in run.history) / 60
    return {"way": way, "seed": seed, **found, "minutes": round(minutes, 2), "load_average": [before, load()]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the 17 flowers")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    backend.prepare()  # so that its flags are recorded
    command = f"python -m benchmarks.imbalance --data 17flowers --epochs {asked.epochs}"
    path = RESULTS / "imbalance.json"
    asks = {"model": asked.model, "size": asked.size, "epochs": asked.epochs}
    facts: Facts = begin(command) | asks | {"images": [MANY, FEW, HELD_OUT], "runs": []}
    if path.is_file():
        before: Facts = json.loads(path.read_text(encoding="utf-8"))
        if all(before[key] == value for key, value in asks.items()):
            facts["runs"] = before["runs"]
    done = {(run["way"], run["seed"]) for run in facts["runs"]}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "flowers.csv"
        write_flowers(table, asked.data, parts)
        for seed in range(asked.seeds):
            for way in WAYS:
                if (way, seed) not in done:
                    facts["runs"].append(trained(asked, table, Path(folder) / "runs", way, seed))
                    save("imbalance", facts)
                    note(str(facts["runs"][-1]))


if __name__ == "__main__":
    try:
        main()
    except CnnRegistryError as error:
        raise SystemExit(f"error: {error}") from error
