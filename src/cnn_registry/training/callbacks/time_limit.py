"""End a training in time, with its schedule laid over the time that there is."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.recipes.schema import Recipe
from cnn_registry.runs.training_progress import TrainingProgress
from cnn_registry.system.times import seconds_of
from cnn_registry.training.schedule import learning_rate

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class TimeLimit(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Stops training so that validation and report still fit into the limit, and sets the learning rate by the clock.

    A training is as far as the larger of two shares: of the recipe's steps that are done, and of the time that has
    passed since the first step, whose tracing says nothing about those that follow. The schedule is followed to the
    place of that share. What is left of the limit when the last step ends is for the last validation, the evaluation of
    the best weights, which takes as long, and the report.

    A resumed training has what is left of the limit: time counts up to the checkpoint that it resumes from.

    Args:
        recipe: with a ``time_limit``.
        progress: how far the training has come.
        val_steps: batches of the validation.

    Attributes:
        share: how far it is, from 0 to 1.
        is_over: whether the time is.
        before: seconds that were spent before this process began.
    """

    REPORT = 5.0
    """Seconds for drawing the report, besides evaluating and tracing the network once more."""

    RATES = 2000
    """How many rates a schedule is followed in at most: to compute one takes as long as a step of a small network."""

    NAME = "time_limit"
    """Under which a checkpoint keeps the state."""

    def __init__(self, recipe: Recipe, progress: TrainingProgress, val_steps: int) -> None:
        super().__init__()
        assert recipe.time_limit
        self.limit = seconds_of(recipe.time_limit)
        self.progress, self.epochs, self.val_steps = progress, recipe.epochs, val_steps
        self.share, self.is_over, self.before = 0.0, False, 0.0
        self._schedule = learning_rate(
            recipe.schedule, recipe.optimizer.learning_rate, recipe.epochs, progress.steps_per_epoch
        )
        self._set_at = -1.0
        self._tracing = self._testing = self._a_step = self._last = 0.0
        self._steps = 0
        self.start(time.monotonic())

    def start(self, began: float) -> None:
        """Count from there, a reading of the monotonic clock."""
        self._began = began
        self._since, self._share_then = math.nan, self.share

    def get_state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"seconds": self.before + time.monotonic() - self._began, "share": self.share}

    def set_state(self, state: dict[str, float]) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: that is not what one keeps.
        """
        seconds, share = float(state["seconds"]), float(state["share"])
        if not (0 <= seconds < math.inf and 0 <= share <= 1):
            raise ValueError(f"expected seconds and a share of the training; got {seconds:g} and {share:g}")
        self.before, self.share = seconds, share

    @property
    def epochs_in_all(self) -> int:
        """How many epochs there will be, the last of them perhaps not whole; never more than the recipe has."""
        done, left = self.progress.epochs, 1.0 - self.share
        if not done or not self.share:
            return self.epochs
        fit = done + max(math.ceil(left / self.share * self.progress.step / self.progress.steps_per_epoch), 1)
        return min(fit, self.epochs)

    def has_time(self) -> bool:
        """Whether there is time for one more step."""
        self.is_over = self.is_over or time.monotonic() + self._a_step >= self._deadline()
        return not self.is_over

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._entered = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        steps = self.epochs * self.progress.steps_per_epoch
        if callable(self._schedule) and self.share - self._set_at >= 0.99 / min(steps, self.RATES):
            rate = self._schedule(keras.ops.convert_to_tensor(self.share * steps, "float32"))
            self.model.optimizer.learning_rate = float(keras.ops.convert_to_numpy(rate))
            self._set_at = self.share

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        if math.isnan(self._since):
            self._since, self._share_then, self._tracing = now, self.share, now - self._entered
        else:
            self._steps += 1
            self._a_step += (now - self._last - self._a_step) / self._steps
        self._last = now
        room = self._deadline() - self._since
        passed = (now - self._since) / room if room > 0 else 1.0
        steps = self.progress.step / (self.epochs * self.progress.steps_per_epoch)
        self.share = min(max(self.share, steps, self._share_then + (1 - self._share_then) * passed), 1.0)
        if not self.has_time():
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._tested = time.monotonic()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._testing = time.monotonic() - self._tested
        self._last = time.monotonic()

    def _deadline(self) -> float:
        """When the last step has to end."""
        test = self._testing or self.val_steps * self._a_step
        return self._began + self.limit - self.before - 2 * test - self._tracing - self.REPORT
