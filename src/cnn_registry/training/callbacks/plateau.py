"""Lower the learning rate when the measure of the best epoch has stalled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.recipes.schema import Recipe
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.training.schedule import plateau_rate

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class LowerOnPlateau(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Sets the rate of each step to what the schedule ``"plateau"`` and the history tell.

    Args:
        recipe: its schedule, the highest rate, and what is watched.
        warmup: steps of its rise.
        progress: how far the training has come.
    """

    def __init__(self, recipe: Recipe, warmup: int, progress: TrainingProgress) -> None:
        super().__init__()
        self.recipe, self.warmup, self.progress = recipe, warmup, progress
        self._rate: float | None = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        recipe, progress = self.recipe, self.progress
        peak = recipe.optimizer.learning_rate
        rate = plateau_rate(recipe.schedule, peak, progress.history, recipe.best_by, progress.step, self.warmup)
        if rate != self._rate:
            self.model.optimizer.learning_rate = self._rate = rate
