"""Train each step at a rate of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class Ramp(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Sets the rate of each step, keeps the loss of its batch, and ends when the loss has diverged.

    Args:
        rates: of the steps.

    Attributes:
        losses: of the batches so far; the last one may be infinite or NaN.
        diverged: whether the loss has.
    """

    RISEN = 4.0
    """A loss has diverged when its average is so many times the lowest average (Smith's, as fastai has it)."""

    MEMORY = 0.9
    """What a step leaves of the average of the losses before."""

    EARLIEST = 10
    """Steps before which the average says too little."""

    def __init__(self, rates: Sequence[float]) -> None:
        super().__init__()
        self.rates, self.diverged = rates, False
        self.losses: list[float] = []
        self._average, self._lowest = 0.0, math.inf

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.reset_metrics()  # so that the loss is this batch's
        self.model.optimizer.learning_rate = self.rates[len(self.losses)]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        self.losses.append(loss)
        self._average = self.MEMORY * self._average + (1 - self.MEMORY) * loss
        average = self._average / (1 - self.MEMORY ** len(self.losses))
        self._lowest = min(self._lowest, average)
        risen = len(self.losses) >= self.EARLIEST and average > self.RISEN * self._lowest
        self.diverged = not math.isfinite(loss) or risen
        if self.diverged:
            self.model.stop_training = True
