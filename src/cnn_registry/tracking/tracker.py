"""What a tracker does, and what it gets of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from cnn_registry.recipes.resolution import NOT_SETTINGS, leaves
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.record import RunRecord
from cnn_registry.runs.run import Run

PROJECT = "cnn_registry"
"""Where runs are filed with a tracker for which the user has named no place."""

FILES = ("best.weights.h5", "run.json", "report.json", "report.html")
"""What a tracker keeps of a run directory."""


class Tracker(Protocol):
    """Follows one training. Any method may raise anything: `Trackers` leaves it out from then on.

    Attributes:
        id: finds the tracker's run again; empty before it begins.
    """

    id: str

    @staticmethod
    def check() -> None:
        """Refuse what can be known to fail before a training begins, without a network.

        Raises:
            UsageError: it would.
        """

    def begin(self, run: Run, known: str) -> bool:
        """Begin a tracker's run, or continue the one that is ``known``, and give it the settings.

        Args:
            run: the run.
            known: the `id` that an earlier process has recorded, or an empty string.

        Returns:
            Whether it is a new one.
        """

    def epoch(self, row: Epoch) -> None:
        """Take what was measured in an epoch."""

    def end(self, run: Run, files: Sequence[Path]) -> None:
        """Take how the training ended, and files of the run; none where there is no time for them."""


def tracked_settings(record: RunRecord) -> dict[str, Any]:
    """What decided the result, by name: the recipe's settings, the model and its images. Values are JSON-ready."""
    height, width, channels = record.model.input_shape
    return {
        "architecture": record.model.spec["name"],
        "input_shape": f"{height}x{width}x{channels}",
        "data": record.data.name,
        "classes": record.model.num_classes,
        "split": record.split.name,
        "training_images": len(record.split.train),
        "validation_images": len(record.split.val),
        **{key: value for key, value in leaves(record.recipe.to_dict()) if key not in NOT_SETTINGS},
    }


def figures_of(row: Epoch) -> dict[str, float]:
    """What an epoch measured, by name."""
    return {name: value for name, value in row.to_dict().items() if name not in ("epoch", "metrics")} | dict(
        row.metrics
    )


def results_of(record: RunRecord) -> dict[str, float]:
    """The figures of the best epoch and of the report, by name; none before an epoch has ended."""
    best, report = record.result.get("best", {}), record.result.get("report", {})
    found = {f"best_{name}": best.get(name) for name in ("epoch", "val_loss", "val_accuracy")}
    found |= {f"report_{name}": report.get(name) for name in ("loss", "accuracy")}
    return {name: float(value) for name, value in found.items() if value is not None}
