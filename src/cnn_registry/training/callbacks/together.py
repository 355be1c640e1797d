"""End the training of all workers where a callback ends that of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.strategy import Distribution

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class StopTogether(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Ends all workers' training at the end of an epoch in which a callback of one has set ``stop_training``.

    Args:
        distribution: the workers.
    """

    def __init__(self, distribution: Distribution) -> None:
        super().__init__()
        self._distribution, self._wanted = distribution, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._wanted = False

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._wanted |= bool(self.model.stop_training)
        self.model.stop_training = False  # the others would wait for the rest of the epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.stop_training = self._distribution.any(self._wanted or bool(self.model.stop_training))
