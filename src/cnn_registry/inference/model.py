"""The trained model of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from cnn_registry.errors import RunError
from cnn_registry.networks.build import create_model
from cnn_registry.networks.weights.keras_file import load_exactly
from cnn_registry.registry.models import get_spec, refuse_unknown_options
from cnn_registry.runs.record import ENDED
from cnn_registry.runs.run import Run
from cnn_registry.system.files import is_own_file

if TYPE_CHECKING:
    import keras

Weights = Literal["best", "last"]
"""The epoch with the lowest validation loss, or the last one."""


def load_model(run: Run, weights: Weights = "best") -> keras.Model:
    """Build the run's model and load its weights.

    Raises:
        RunError: the run has no such weights, they are a link, or its model takes other images than squares of RGB.
        UnknownNameError: the plugin that provides the model is not installed.
        UnknownOptionError: the installed model has no such option. Nothing else that `create_model` takes is passed on.
        WeightsError: the weights do not fit, or their file is damaged.
    """
    path = run.best_weights if weights == "best" else run.last_weights
    if os.path.lexists(path) and not is_own_file(path):
        raise RunError(f"{run.path} has no {path.name} of its own: expected a file, not a link. Restore it.")
    if not path.is_file():
        helps = "Train it again." if run.record.status in ENDED else f"Go on with: cnnreg train --resume {run.path}"
        raise RunError(f"{run.path} has no {path.name}: the run is {run.record.status!r}. {helps}")
    model = run.record.model
    height, width, channels = model.input_shape
    if height != width or channels != 3:
        raise RunError(f"The model of {run.path} takes {height}x{width}x{channels}; expected squares of RGB pixels.")
    refuse_unknown_options(get_spec(model.name), model.options)
    options = model.options | ({"aux_heads": False} if model.spec["aux_heads"] else {})
    network = create_model(model.name, num_classes=model.num_classes, input_shape=model.input_shape, **options)
    load_exactly(network, path, run.record.data.class_names)
    return network
