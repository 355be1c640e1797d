"""The trained model of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cnn_registry.errors import RunError
from cnn_registry.registry import create_model
from cnn_registry.training.run import Run
from cnn_registry.weights.load import load_exactly

if TYPE_CHECKING:
    import keras

Weights = Literal["best", "last"]
"""The epoch with the lowest validation loss, or the last one."""


def load_model(run: Run, weights: Weights = "best") -> keras.Model:
    """Build the run's model and load its weights.

    Raises:
        RunError: the run has no such weights.
        UnknownNameError: the plugin that provides the model is not installed.
        WeightsError: the weights do not fit, or their file is damaged.
    """
    path = run.best_weights if weights == "best" else run.last_weights
    if not path.is_file():
        raise RunError(f"{run.path} has no {path.name}: the run is {run.record.status!r}. Train it again.")
    model = run.record.model
    options = model.options | ({"aux_heads": False} if model.spec["aux_heads"] else {})
    network = create_model(model.name, num_classes=model.num_classes, input_shape=model.input_shape, **options)
    load_exactly(network, path)
    return network
