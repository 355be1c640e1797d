"""The bar on a terminal or in a notebook."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.system.progress import WIDE, Bar, note, open_bar

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """A bar of all epochs: step, images/s, loss, accuracy and the time left.

    Args:
        epochs: how many there will be.
        progress: how far the training is.
        batch_size: images per step.
    """

    EVERY = 0.1
    """Seconds between updates of the bar."""

    def __init__(self, epochs: int, progress: TrainingProgress, batch_size: int) -> None:
        super().__init__()
        self.epochs, self.progress, self.batch_size = epochs, progress, batch_size
        self._bar: Bar | None = None

    @property
    def width(self) -> int:
        """Columns for which there is room."""
        return self._bar.width if self._bar else WIDE

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._bar is None:  # Keras calls this again after the rest of an epoch
            total = self.epochs * self.progress.steps_per_epoch
            self._bar = open_bar("preparing", total, completed=self.progress.step)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first, self._began, self._shown = self.progress.step, time.perf_counter(), 0.0
        self._description = f"epoch {epoch + 1}/{self.epochs}"
        self._show("")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.perf_counter()
        if now - self._shown < self.EVERY and self.progress.batch < self.progress.steps_per_epoch:
            return
        self._shown = now
        values = logs or {}
        speed = (self.progress.step - self._first) * self.batch_size / (now - self._began)
        measured = f"{speed:.1f} images/s  loss {values['loss']:.4f}"
        if self.width >= WIDE:
            measured += f"  accuracy {values['accuracy']:.4f}"
        self._show(measured)

    def _show(self, measured: str) -> None:
        if self._bar:
            self._bar.update(self.progress.step, self._description, measured)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        (self._bar.print if self._bar else note)(text)

    def close(self) -> None:
        """Leave the terminal as it was, however training ended."""
        if self._bar:
            self._bar.close()
