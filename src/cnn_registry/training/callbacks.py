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
from cnn_registry.errors import RunError
from cnn_registry.graph import main_network
from cnn_registry.progress import note

from .history import Epoch, best_epoch, csv_text, has_stalled
from .recipe import EarlyStoppingSettings
from .run import Run
from .signals import StopRequest
from .state import Progress, Snapshot, Training
from .weights_file import save_weights

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class Diverged(Exception):  # noqa: N818  (what happened; the loop makes an error of it)
    """The loss, or a weight, is no finite number any more."""


class Stopped(Exception):  # noqa: N818  (no error)
    """The training was asked to stop, and everything that it needs to go on is written."""


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Keeps count of the progress, the history in ``history.csv``, and the weights of the best epoch.

    Args:
        run: where they are written.
        progress: what is counted.
        num_images: training images an epoch, for images/s.
        show: told of each epoch when it has ended.
        validated: puts the weights in place that validation has seen.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress,
        num_images: int,
        show: Callable[[Epoch], None],
        validated: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self.run, self.progress, self.num_images = run, progress, num_images
        self.show, self.validated = show, validated

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.perf_counter() - self.progress.seconds

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.progress.step += 1
        self.progress.seconds = time.perf_counter() - self._began  # the epoch ends later, after validation
        if not math.isfinite((logs or {})["loss"]):
            raise Diverged

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(keras.ops.all(keras.ops.isfinite(weight)) for weight in self.model.weights):
            raise Diverged  # an activation can hide it from the loss
        logs = logs or {}
        seconds, self.progress.seconds = self.progress.seconds, 0.0
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
        history = self.progress.history
        history.append(row)
        self.run.write("history.csv", csv_text(history))
        self.show(row)
        if best_epoch(history) is row:
            with self.validated():
                save_weights(main_network(self.model), self.run.best_weights)


class StopEarly(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """Ends training when the validation loss has stalled, which the history alone tells: there is nothing to forget."""

    def __init__(self, settings: EarlyStoppingSettings, progress: Progress) -> None:
        super().__init__()
        self.settings, self.progress = settings, progress

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if has_stalled(self.progress.history, self.settings.patience, self.settings.min_delta):
            self.model.stop_training = True


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """Writes checkpoints: at the end of each epoch, every some minutes inside one, and when asked to stop.

    At the end of an epoch it waits while checkpoints would take more than `SHARE` of the time, as they may with epochs
    of a second.

    Args:
        run: where they are written.
        training: what is kept.
        minutes: from one checkpoint to the next inside an epoch.
        request: whether to stop.
        keep_going: go on without checkpoints where they cannot be written.
        taken_up: the checkpoint that training goes on from.
    """

    SHARE = 0.015
    """The largest share of the time that checkpoints may take."""

    def __init__(
        self,
        run: Run,
        training: Training,
        minutes: float,
        request: StopRequest,
        *,
        keep_going: bool,
        taken_up: Snapshot | None,
    ) -> None:
        super().__init__()
        self.run, self.training, self.request = run, training, request
        self.keep_going, self._taken_up = keep_going, taken_up
        self._seconds = 60 * minutes
        self._last, self._cost, self._works = time.monotonic(), 0.0, True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        progress = self.training.progress
        if self._taken_up and progress.batch > 1:
            self.training.add_metrics(self._taken_up)
        self._taken_up = None
        if progress.batch == progress.steps_per_epoch:
            return  # the epoch's end, after validation, is near
        if self.request.signal or time.monotonic() - self._last >= self._seconds:
            self._save()
        if self.request.signal:
            raise Stopped

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.request.signal or time.monotonic() - self._last >= self._cost / self.SHARE:
            self._save()
        if self.request.signal and not self.model.stop_training:
            raise Stopped

    def _save(self) -> None:
        if not self._works:
            return
        began = time.monotonic()
        snapshot = self.training.snapshot()
        if not snapshot.is_finite:
            raise Diverged
        try:
            self.run.checkpoints.save(snapshot)
        except RunError as error:
            if not self.keep_going:
                raise
            note(f"{error} Training goes on without checkpoints.")
            self._works = False
        self._last = time.monotonic()
        self._cost = self._last - began


class WeightAverage(keras.callbacks.Callback):  # type: ignore[misc]  # as above
    """An exponential moving average of a model's weights, in their place during validation.

    Polyak & Juditsky (1992); Tan & Le (2019), section 5.2. The statistics of normalisations are averaged alike, so that
    they fit. Until the average is as old as it remembers, it is the plain mean.

    Args:
        model: whose weights are averaged.
        steps: after which a weight's share in the average has fallen to 1/e.
        progress: the steps so far.

    Attributes:
        averages: one variable for each of the model's weights.
        updates: how often they have been updated.
    """

    EVERY = 4
    """Steps from one update to the next: an update reads all weights, which costs 5 % of a step of AlexNet."""

    def __init__(self, model: keras.Model, steps: float, progress: Progress) -> None:
        super().__init__()
        self._least = 1 - math.exp(-self.EVERY / steps)
        self._weights, self._progress = model.weights, progress
        self.averages = [
            keras.Variable(keras.ops.copy(weight), trainable=False, name="average") for weight in self._weights
        ]
        self.updates = 0
        self._update = backend.tensorflow().function(self._move, autograph=False)  # it has nothing to convert

    def _move(self, share: Any) -> None:
        for average, weight in zip(self.averages, self._weights, strict=True):
            backend.tensorflow().raw_ops.ResourceApplyGradientDescent(
                var=average.value.handle,
                alpha=keras.ops.cast(share, average.dtype),
                delta=average.value - weight.value,
            )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._progress.step % self.EVERY == 1:
            self.updates += 1
            self._update(keras.ops.convert_to_tensor(max(self._least, 1 / self.updates)))

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.swap()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.swap()

    def swap(self) -> None:
        """Exchange weights and averages."""
        for average, weight in zip(self.averages, self._weights, strict=True):
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
