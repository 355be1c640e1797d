"""Record each epoch: the row of the history, and the weights of the best one.

This is an inner module: importing it imports Keras.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.networks.graph import main_network
from cnn_registry.recipes.schema import BestBy
from cnn_registry.runs.history import Epoch, best_epoch, csv_text
from cnn_registry.runs.run import Run
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.runs.weights_file import save_weights

from .endings import Diverged, EndedEarly

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Keeps count of the progress, the history in ``history.csv``, and the weights of the best epoch.

    Args:
        run: where they are written.
        progress: what is counted.
        num_images: training images per epoch, for images/s.
        val_steps: batches of the validation.
        metrics: names of what is measured beside loss and accuracy.
        best_by: which epoch is the best.
        show: called with each epoch when it has ended.
    """

    def __init__(
        self,
        run: Run,
        progress: TrainingProgress,
        num_images: int,
        val_steps: int,
        metrics: Sequence[str],
        best_by: BestBy,
        show: Callable[[Epoch], None],
    ) -> None:
        super().__init__()
        self.run, self.progress, self.num_images, self.val_steps = run, progress, num_images, val_steps
        self.metrics, self.show = [*metrics, *(f"val_{name}" for name in metrics)], show
        self.best_by = best_by

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.progress.begun = epoch + 1
        self._began = time.perf_counter() - self.progress.seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.progress.step += 1
        self.progress.seconds = time.perf_counter() - self._began  # the epoch ends later, after validation
        if not math.isfinite((logs or {})["loss"]):
            raise Diverged(from_the_start=self.progress.step == 1)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._tested = 0

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._tested += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(keras.ops.all(keras.ops.isfinite(weight)) for weight in self.model.weights):
            raise Diverged  # an activation can hide it from the loss
        if self.progress.batch < self.progress.steps_per_epoch and not self.model.stop_training:
            raise EndedEarly("epoch", self.progress.batch, self.progress.steps_per_epoch)
        if self._tested < self.val_steps:
            raise EndedEarly("validation", self._tested, self.val_steps)
        logs = logs or {}
        seconds, self.progress.seconds = self.progress.seconds, 0.0
        whole = self.progress.batch / self.progress.steps_per_epoch  # less than 1 where a callback has ended it within
        row = Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=float(logs["val_loss"]),
            val_accuracy=float(logs["val_accuracy"]),
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=seconds,
            images_per_second=self.num_images * whole / seconds,
            metrics={name: float(np.mean(logs[name])) for name in self.metrics},
        )
        history = self.progress.history
        history.append(row)
        self.run.write("history.csv", csv_text(history))
        self.show(row)
        if self.run.writes and best_epoch(history, self.best_by) is row:
            save_weights(main_network(self.model), self.run.best_weights, self.run.record.data.class_names)
