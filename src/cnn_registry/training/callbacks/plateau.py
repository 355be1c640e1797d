"""Lower the learning rate when the validation loss has stalled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.recipes.schema import ScheduleSettings
from cnn_registry.runs.progress import TrainingProgress
from cnn_registry.training.schedule import plateau_rate

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class LowerOnPlateau(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """Sets the rate of each step to what the schedule ``"plateau"`` and the history tell.

    Args:
        settings: the schedule.
        peak: its highest rate.
        warmup: steps of its rise.
        progress: how far the training has come.
    """

    def __init__(self, settings: ScheduleSettings, peak: float, warmup: int, progress: TrainingProgress) -> None:
        super().__init__()
        self.settings, self.peak, self.warmup, self.progress = settings, peak, warmup, progress
        self._rate: float | None = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        progress = self.progress
        rate = plateau_rate(self.settings, self.peak, progress.history, progress.step, self.warmup)
        if rate != self._rate:
            self.model.optimizer.learning_rate = self._rate = rate
