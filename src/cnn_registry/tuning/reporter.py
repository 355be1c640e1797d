"""Report each epoch of a trial to its study, and end the trial when the pruner says so.

This is an inner module: importing it imports Keras.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.recipes.schema import BestBy

if TYPE_CHECKING:
    import keras
    import optuna
else:
    keras = backend.keras()

COLUMNS = {
    "val_loss": "val_loss",
    "accuracy": "val_accuracy",
    "balanced_accuracy": "val_balanced_accuracy",
    "macro_f1": "val_macro_f1",
}
"""What Keras calls the measures of a validation."""


class Reporter(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Reports the measure of each epoch.

    Args:
        trial: the trial.
        best_by: the measure.
        epochs: of the whole training; the last one is not pruned, as there is nothing left to save.

    Attributes:
        pruned: whether it ended the training.
        reported: the epochs that the study knows: a trial that is resumed may train one of them once more.
    """

    def __init__(self, trial: optuna.Trial, best_by: BestBy, epochs: int) -> None:
        super().__init__()
        self.trial, self.column, self.epochs, self.pruned = trial, COLUMNS[best_by], epochs, False
        self.reported: set[int] = set()

    def report(self, epoch: int, value: float) -> None:
        """Tell the study the measure of an epoch, counted from 1, unless it knows that."""
        if math.isfinite(value) and epoch not in self.reported:
            self.trial.report(value, epoch)
            self.reported.add(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.report(epoch + 1, float((logs or {})[self.column]))
        if epoch + 1 < self.epochs and self.trial.should_prune():
            self.pruned = True
            self.model.stop_training = True
