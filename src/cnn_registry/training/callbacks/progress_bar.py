"""The bar on a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.runs.progress import Progress

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """A bar on the terminal: step, images/s, loss, accuracy and the time left in all epochs.

    Args:
        epochs: how many there will be.
        progress: how far the training is.
        batch_size: images a step.
    """

    EVERY = 0.1
    """Seconds between updates of the bar."""

    def __init__(self, epochs: int, progress: Progress, batch_size: int) -> None:
        super().__init__()
        self.epochs, self.progress, self.batch_size = epochs, progress, batch_size

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if hasattr(self, "_bar"):
            return  # after the rest of an epoch Keras begins once more
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[measured]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            speed_estimate_period=120,
        )
        total = self.epochs * self.progress.steps_per_epoch
        self._task = self._bar.add_task("preparing", total=total, completed=self.progress.step, measured="")
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first, self._began, self._shown = self.progress.step, time.perf_counter(), 0.0
        self._bar.update(self._task, description=f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.perf_counter()
        if now - self._shown < self.EVERY and self.progress.batch < self.progress.steps_per_epoch:
            return
        self._shown = now
        values = logs or {}
        speed = (self.progress.step - self._first) * self.batch_size / (now - self._began)
        measured = f"{speed:.1f} images/s  loss {values['loss']:.4f}  accuracy {values['accuracy']:.4f}"
        self._bar.update(self._task, completed=self.progress.step, measured=measured)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was, however training ended."""
        if hasattr(self, "_bar"):
            self._bar.stop()
