"""Measure the cost of checkpoints with the default settings, as a share of training time.

    python -m benchmarks.checkpoint_cost

This trains AlexNet and LeNet-5 on handwritten digits of 96 and 32 pixels, and measures the time spent on taking and
writing checkpoints: 30 million weights about once per minute, and 60 thousand after epochs of less than a second.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cnn_registry import train
from cnn_registry.runs.machine import machine, versions
from cnn_registry.training.callbacks.checkpoint import CheckpointCallback

RESULT = Path(__file__).parent / "results" / "checkpoint_cost.json"
TRAININGS = {"alexnet": {"image_size": 96, "epochs": 6}, "lenet5": {"image_size": 32, "epochs": 40}}


def main() -> None:
    """Measure, and write ``benchmarks/results/checkpoint_cost.json``."""
    result = {
        "command": "python -m benchmarks.checkpoint_cost",
        "versions": versions(),
        "machine": machine(),
        "trainings": [cost(model, settings) for model, settings in TRAININGS.items()],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def cost(model: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The seconds of a run, and those of its checkpoints."""
    spent: list[float] = []
    original = CheckpointCallback._save

    def timed(callback: CheckpointCallback) -> None:
        began = time.perf_counter()
        original(callback)
        spent.append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory(prefix="cnnreg-cost-") as out, patch.object(CheckpointCallback, "_save", timed):
        run = train(model, dataset="digits", settings=settings, out=out)
        history = (run.path / "history.csv").read_text().splitlines()
        seconds = sum(float(row.split(",")[6]) for row in history[1:])
    return {
        "model": model,
        "settings": settings,
        "checkpoints": len(spent),
        "checkpoint_seconds": round(sum(spent), 3),
        "training_seconds": round(seconds, 1),
        "share": round(sum(spent) / (seconds + sum(spent)), 4),
    }


if __name__ == "__main__":
    main()
