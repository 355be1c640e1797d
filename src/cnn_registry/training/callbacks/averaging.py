"""The average of the weights over the last epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend import keras_internals
from cnn_registry.runs.training_progress import TrainingProgress

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class WeightAverage(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """An exponential moving average of a model's weights, which takes their place in validation.

    Polyak & Juditsky (1992); Tan & Le (2019), section 5.2. A step that lies ``n`` steps back counts ``exp(-n / steps)``
    times as much as the last one. The counts are divided by their sum, which corrects for the start as Adam does
    (Kingma & Ba 2015, section 3), so the first averages are nearly plain means. The statistics of normalisations are
    averaged with the weights, so that they fit them. Integer and boolean weights, such as counters, are not averaged;
    they stay what they are.

    Weights are read every `EVERY` steps and at the end of each epoch. A reading stands for all steps since the one
    before. From the start of validation to the start of the next epoch, the model has the averages: what callbacks
    save or remember at the end of an epoch is what validation has measured.

    Args:
        model: its weights are averaged.
        steps: number of steps after which a step counts 1/e times as much.
        progress: the steps so far.
        idle: number of steps at the start that do not count, because nothing is learned in them.

    Attributes:
        weights: the model's weights that are averaged, those of a floating-point type.
        averages: one variable for each of them.
        begins_after: the step after which steps count.
        read: the step of the last reading.
        steps: see above; may change between readings.
        in_place: whether the model has the averages. Its own weights are then in ``averages``.
    """

    EVERY = 4
    """Steps between readings: one reads all weights, which takes 5 % of a step of AlexNet."""

    def __init__(self, model: keras.Model, steps: float, progress: TrainingProgress, idle: int = 0) -> None:
        super().__init__()
        self.steps, self._progress, self.begins_after = steps, progress, idle
        self.weights = [weight for weight in model.weights if keras.backend.is_float_dtype(weight.dtype)]
        self.averages = [
            keras.Variable(keras.ops.copy(weight), trainable=False, dtype=weight.dtype, name="average")
            for weight in self.weights
        ]
        self.read, self.in_place = 0, False
        self._update = backend.tensorflow().function(self._move, autograph=False)  # it has nothing to convert

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._progress.step % self.EVERY == 0:
            self._catch_up()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.swap_in()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.swap_out()

    def swap_in(self) -> None:
        """Give the model the averages, with all steps so far."""
        if not self.in_place:
            self._catch_up()
            self._swap()

    def swap_out(self) -> None:
        """Give the model its own weights back."""
        if self.in_place:
            self._swap()

    def start_again(self) -> None:
        """Begin with the weights as they are now, whatever was read before."""
        self._copy()
        self.read = self.begins_after = self._progress.step

    def _catch_up(self) -> None:
        """Read the weights, unless that was done at this step."""
        if self.read < self._progress.step:
            share = self._share()
            if share == 1:
                self._copy()
            else:
                self._update(keras.ops.convert_to_tensor(share, "float32"))
            self.read = self._progress.step

    def _share(self) -> float:
        """The share of the present weights in the average, standing for all steps since the last reading."""
        counted = self._progress.step - self.begins_after
        latest = min(self._progress.step - self.read, counted)
        if latest == counted:
            return 1.0
        return math.expm1(-latest / self.steps) / math.expm1(-counted / self.steps)

    def _copy(self) -> None:
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.assign(weight)

    def _move(self, share: Any) -> None:
        for average, weight in zip(self.averages, self.weights, strict=True):
            keras_internals.move(average, weight, share)

    def _swap(self) -> None:
        for average, weight in zip(self.averages, self.weights, strict=True):
            kept = keras.ops.copy(weight)
            weight.assign(average)
            average.assign(kept)
        self.in_place = not self.in_place
