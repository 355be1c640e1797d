"""Measure what the rate that ``cnnreg lr-find`` suggests is worth, beside a grid of rates.

    python -m benchmarks.lr_find --data 17flowers [--seeds 3] [--only digits]

Three networks on two datasets at 32 pixels: the digits, and the 17 flowers, half of each class for validation. For
each, `find_learning_rate` suggests a rate; a network is trained with it, and one with each rate of the grid.
Everything else is the recipe `default` with few epochs and one epoch of warm-up. Accuracies are those of the last
weights. Each result is written into ``results/lr_find.json`` immediately; the next call makes those that are missing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cnn_registry import CnnRegistryError, backend, find_learning_rate, train
from cnn_registry.errors import DivergedError, TrainingError
from cnn_registry.system.progress import note

from .common import RESULTS, Facts, begin, load, save, write_flowers

MODELS = ("alexnet", "inception_v2", "resnet18")

GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

DIGITS, FLOWERS = "digits", "17 flowers"

FEW: Facts = {"schedule.warmup_epochs": 1, "image_size": 32}

SETTINGS: dict[str, Facts] = {DIGITS: {"epochs": 2, **FEW}, FLOWERS: {"epochs": 4, **FEW}}
"""What the trainings on each dataset change of the recipe `default`."""

HALF = 40
"""Training images of a class of flowers, and validation images."""


class Cell:
    """A network on a dataset with a seed.

    Args:
        model: its name.
        name: of the dataset.
        seed: of everything random.
        table: the table of the flowers.
        out: the folder of the runs.
    """

    def __init__(self, model: str, name: str, seed: int, table: Path, out: Path) -> None:
        self.key: Facts = {"data": name, "model": model, "seed": seed}
        self.model, self.out = model, out
        self.images: Facts = {"dataset": DIGITS} if name == DIGITS else {"data": table}
        self.settings = {**SETTINGS[name], "seed": seed}

    def grid(self, done: dict[str, Facts]) -> Iterator[Facts]:
        """Train with each rate of the grid that is not among what is ``done``, which is by rate."""
        for rate in GRID:
            if str(rate) not in done:
                yield self.key | {"rate": str(rate)} | self.trained(rate)

    def suggestion(self, done: dict[str, Facts]) -> Iterator[Facts]:
        """Find a rate, and train with it."""
        if "suggestion" not in done:
            began = time.perf_counter()
            try:
                found: Facts = find_learning_rate(self.model, **self.images, settings=self.settings).to_dict()
            except TrainingError as error:
                found = {"error": str(error)}
            kept = {name: found.get(name) for name in ("suggestion", "steepest", "tenth", "error")}
            seconds = {"seconds": round(time.perf_counter() - began, 1)}
            done["suggestion"] = self.key | {"rate": "suggestion"} | kept | seconds
            yield done["suggestion"]
        rate = done["suggestion"]["suggestion"]
        if rate is not None and "suggested" not in done:
            yield self.key | {"rate": "suggested"} | self.trained(rate)

    def trained(self, rate: float) -> Facts:
        """Train with a rate; the accuracy on the validation images is ``None`` where it diverged."""
        before, began = load(), time.perf_counter()
        settings = {**self.settings, "optimizer.learning_rate": rate}
        accuracy: float | None = None
        try:
            run = train(self.model, **self.images, settings=settings, out=self.out, report=False)
        except DivergedError:
            pass
        else:
            if run.record.status != "finished":
                raise SystemExit("Stopped; the same command trains what is missing.")
            accuracy = round(run.history[-1].val_accuracy, 4)
        seconds = round(time.perf_counter() - began, 1)
        return {"accuracy": accuracy, "seconds": seconds, "load_average": [before, load()]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the 17 flowers")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=list(SETTINGS), help="one of the datasets")
    asked = parser.parse_args()
    backend.prepare()  # so that its flags are recorded
    path = RESULTS / "lr_find.json"
    asks: Facts = {"models": list(MODELS), "settings": SETTINGS, "grid": list(GRID), "half": HALF}
    facts: Facts = begin(f"python -m benchmarks.lr_find --data 17flowers --seeds {asked.seeds}") | asks | {"runs": []}
    if path.is_file():
        before: Facts = json.loads(path.read_text(encoding="utf-8"))
        if all(before[key] == value for key, value in asks.items()):
            facts["runs"] = before["runs"]
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "flowers.csv", Path(folder) / "runs"
        write_flowers(table, asked.data, lambda label: ["val"] * HALF + ["train"] * HALF)
        names = [asked.only] if asked.only else list(SETTINGS)
        cells = [
            Cell(model, name, seed, table, out) for seed in range(asked.seeds) for name in names for model in MODELS
        ]
        for work in (Cell.grid, Cell.suggestion):
            for cell in cells:
                own = {run["rate"]: run for run in facts["runs"] if cell.key.items() <= run.items()}
                for result in work(cell, own):
                    facts["runs"].append(result)
                    save("lr_find", facts)
                    note(str(result))


if __name__ == "__main__":
    try:
        main()
    except CnnRegistryError as error:
        raise SystemExit(f"error: {error}") from error
