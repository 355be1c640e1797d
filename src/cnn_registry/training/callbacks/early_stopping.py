"""Stop when the measure of the best epoch has stalled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.recipes.schema import BestBy, EarlyStoppingSettings
from cnn_registry.runs.history import has_stalled
from cnn_registry.runs.training_progress import TrainingProgress

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class StopEarly(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Ends training when the measure has stalled, which follows from the history alone, so it has no state."""

    def __init__(self, settings: EarlyStoppingSettings, best_by: BestBy, progress: TrainingProgress) -> None:
        super().__init__()
        self.settings, self.best_by, self.progress = settings, best_by, progress

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if has_stalled(self.progress.history, self.settings.patience, self.settings.min_delta, self.best_by):
            self.model.stop_training = True
