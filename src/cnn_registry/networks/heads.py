"""Training with auxiliary heads.

This is an inner module: importing it imports Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cnn_registry import backend

from .graph import MAIN

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class AuxLosses(keras.Model):  # type: ignore[misc]  # Keras ships no type information
    """A network with a dict of outputs, trained on the weighted sum of their losses.

    The metrics, and the loss in evaluation, are of the main output alone. So the loop, its callbacks and its labels are
    the same for a network with such heads as for one without.
    """

    aux_weights: dict[str, float]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Main loss, in training plus the weighted losses of the heads."""
        heads = self.aux_weights.items() if training else ()
        losses = [weight * self.loss(y, y_pred[name]) for name, weight in heads]
        main = super().compute_loss(x, y, y_pred[MAIN], sample_weight, training)
        return sum(losses, start=main)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Metrics of the main output."""
        return super().compute_metrics(x, y, y_pred[MAIN], sample_weight)


def with_aux_losses(model: keras.Model, weights: Mapping[str, float]) -> keras.Model:
    """The same network, to be trained on main loss plus ``weights`` times the losses of its auxiliary heads.

    Args:
        model: functional, with a dict of outputs, the main one ``"predictions"``.
        weights: of each other output's loss, by its name.
    """
    trained = AuxLosses(model.input, model.output, name=model.name)
    trained.aux_weights = dict(weights)
    return trained
