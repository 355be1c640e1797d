"""Event files for TensorBoard, in the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_registry import backend
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.run import Run

from .tracker import figures_of, results_of, tracked_settings

FOLDER = "tensorboard"
"""The folder in a run directory."""


class TensorBoard:
    """Curves with the names, folders and steps of Keras' own callback, whose epochs count from 0.

    Settings are there as text and as hyperparameters, and so is the result, as text. Files of the run are beside them.
    """

    def __init__(self) -> None:
        self.id = ""
        self._writers: dict[str, Any] = {}

    @staticmethod
    def check() -> None:
        """Nothing can be known to fail."""

    def begin(self, run: Run, known: str) -> bool:
        """Open files beside those that are there."""
        path = run.path / FOLDER
        is_new = not path.exists()
        summary = backend.tensorflow().summary
        self._writers = {
            "": summary.create_file_writer(str(path)),
            "train": summary.create_file_writer(str(path / "train")),
            "validation": summary.create_file_writer(str(path / "validation")),
        }
        self.id = FOLDER
        if is_new:
            from tensorboard.plugins.hparams import api

            settings = tracked_settings(run.record)
            with self._writers[""].as_default(step=0):
                summary.text("settings", _table(settings))
                plain = {key: value for key, value in settings.items() if isinstance(value, bool | int | float | str)}
                api.hparams(plain, trial_id=run.path.name)
            self._writers[""].flush()
        return is_new

    def epoch(self, row: Epoch) -> None:
        """Write the figures of the training images and of the validation images, each into its folder."""
        figures = figures_of(row)
        parts: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in figures.items():
            part = "validation" if name.startswith("val_") else "train"
            parts[part][name.removeprefix("val_")] = value
        for part, values in parts.items():
            with self._writers[part].as_default(step=row.epoch - 1):
                for name, value in values.items():
                    backend.tensorflow().summary.scalar(f"epoch_{name}", value)
            self._writers[part].flush()

    def end(self, run: Run, files: Sequence[Path]) -> None:
        """Write the result, and close the files."""
        step = max(len(run.history) - 1, 0) if run.history_csv.exists() else 0
        with self._writers[""].as_default(step=step):
            backend.tensorflow().summary.text("result", _table({"status": run.record.status} | results_of(run.record)))
        for writer in self._writers.values():
            writer.close()


def _table(rows: Mapping[str, Any]) -> str:
    """A table in Markdown."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
