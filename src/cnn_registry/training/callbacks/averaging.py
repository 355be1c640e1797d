"""The average of weights over the last epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.runs.progress import Progress

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


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
