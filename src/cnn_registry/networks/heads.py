"""Training with auxiliary heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cnn_registry.backend.keras_internals import Replacements

from .graph import MAIN

if TYPE_CHECKING:
    import keras


def add_aux_losses(model: keras.Model, weights: Mapping[str, float], loss: keras.losses.Loss) -> None:
    """Train a network with a dict of outputs on its main loss plus ``weights`` times the losses of its auxiliary heads.

    The metrics, and the loss in evaluation, are those of the main output alone. So the training loop, its callbacks and
    its labels are the same for a network with such heads as for one without.

    The model stays Keras' own. What is saved of it is compiled as a script would do it, with a loss for each output and
    their weights, and takes labels by the outputs' names.

    Args:
        model: functional, with a dict of outputs, the main one ``"predictions"``; compiled with ``loss`` afterwards.
        weights: the weight of each other output's loss, by its name.
        loss: the loss of each output.
    """
    plain_loss, plain_metrics, plain_config = model.compute_loss, model.compute_metrics, model.get_compile_config

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        heads = weights.items() if training else ()
        losses = [weight * loss(y, y_pred[name], sample_weight) for name, weight in heads]
        return sum(losses, start=plain_loss(x, y, y_pred[MAIN], sample_weight, training))

    def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return plain_metrics(x, y, y_pred[MAIN], sample_weight)

    def get_compile_config() -> dict[str, Any]:
        config: dict[str, Any] = plain_config()
        return config | {
            "loss": dict.fromkeys(model.output, config["loss"]),
            "loss_weights": {name: weights.get(name, 1.0) for name in model.output},
            "metrics": {MAIN: config["metrics"]},
        }

    replacements = Replacements()
    replacements.add(model, "compute_loss", compute_loss)
    replacements.add(model, "compute_metrics", compute_metrics)
    replacements.add(model, "get_compile_config", get_compile_config)
