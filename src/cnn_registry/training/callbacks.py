"""The Keras callbacks of the training loop: the history, the checkpoints, and what is shown meanwhile.

This is an inner module: importing it imports Keras.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.graph import main_network

from .checkpoint import save_weights
from .history import Epoch, csv_text
from .run import Run

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Keeps the history, in memory and in ``history.csv``, and the weights of the best epoch.

    Args:
        run: where they are written.
        num_images: training images an epoch, for images/s.
        show: told of each epoch when it has ended.
        validated: puts the weights in place that validation has seen.
    """

    def __init__(
        self,
        run: Run,
        num_images: int,
        show: Callable[[Epoch], None],
        validated: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self.run, self.num_images, self.show, self.validated = run, num_images, show, validated
        self.history: list[Epoch] = []
        self._best = math.inf

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = self._last_step = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._last_step = time.perf_counter()  # the epoch ends later, after validation

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        seconds = self._last_step - self._began
        row = Epoch(
            epoch=epoch + 1,
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=float(logs["val_loss"]),
            val_accuracy=float(logs["val_accuracy"]),
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=seconds,
            images_per_second=self.num_images / seconds,
        )
        self.history.append(row)
        self.run.write("history.csv", csv_text(self.history))
        self.show(row)
        if len(self.history) == 1 or row.val_loss < self._best:
            self._best = row.val_loss
            with self.validated():
                save_weights(main_network(self.model), self.run.best_weights)


class WeightAverage(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """An exponential moving average of a model's weights, in their place during validation.

    Polyak & Juditsky (1992); Tan & Le (2019), section 5.2. The statistics of normalisations are averaged alike, so that
    they fit. Until the average is as old as it remembers, it is the plain mean.

    Args:
        model: whose weights are averaged.
        steps: after which a weight's share in the average has fallen to 1/e.
    """

    EVERY = 4
    """Steps from one update to the next: an update reads all weights, which costs 5 % of a step of AlexNet."""

    def __init__(self, model: keras.Model, steps: float) -> None:
        super().__init__()
        self._least = 1 - math.exp(-self.EVERY / steps)
        self._weights = model.weights
        self._averages = [
            keras.Variable(keras.ops.copy(weight), trainable=False, name="average") for weight in self._weights
        ]
        self._steps = self._updates = 0
        self._update = backend.tensorflow().function(self._move)

    def _move(self, share: Any) -> None:
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.assign(average + share * (weight - average))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps += 1
        if self._steps % self.EVERY == 1:
            self._updates += 1
            self._update(keras.ops.convert_to_tensor(max(self._least, 1 / self._updates)))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.swap()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.swap()

    def swap(self) -> None:
        """Exchange weights and averages."""
        for average, weight in zip(self._averages, self._weights, strict=True):
            kept = keras.ops.copy(weight)
            weight.assign(average)
            average.assign(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages are the model's weights."""
        self.swap()
        try:
            yield
        finally:
            self.swap()


class StopOnNaN(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """Ends training at the first epoch whose loss is not a finite number, and remembers which."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not math.isfinite(float((logs or {}).get("loss", math.nan))):
            self.epoch = epoch + 1
            self.model.stop_training = True


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """A bar on the terminal: step, images/s, loss, accuracy and the time left in all epochs.

    Args:
        epochs: how many there will be.
        steps: steps an epoch.
        batch_size: images a step.
    """

    EVERY = 0.1
    """Seconds between updates: reading the loss waits for the step to end."""

    def __init__(self, epochs: int, steps: int, batch_size: int) -> None:
        super().__init__()
        self.epochs, self.steps, self.batch_size = epochs, steps, batch_size

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[measured]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            speed_estimate_period=120,
        )
        self._task = self._bar.add_task("preparing", total=self.epochs * self.steps, measured="")
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch, self._began, self._shown = epoch, time.perf_counter(), 0.0
        self._bar.update(self._task, description=f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.perf_counter()
        if now - self._shown < self.EVERY and batch + 1 < self.steps:
            return
        self._shown = now
        values = logs or {}
        speed = (batch + 1) * self.batch_size / (now - self._began)
        measured = f"{speed:.1f} images/s  loss {values['loss']:.4f}  accuracy {values['accuracy']:.4f}"
        self._bar.update(self._task, completed=self._epoch * self.steps + batch + 1, measured=measured)

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was, however training ended."""
        if hasattr(self, "_bar"):
            self._bar.stop()
