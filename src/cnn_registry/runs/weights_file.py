"""Weights to a file of the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.backend.keras_internals import without_optimizer
from cnn_registry.networks.weights.keras_file import stamp
from cnn_registry.system.files import whole_file

if TYPE_CHECKING:
    import keras


def save_weights(model: keras.Model, path: Path, class_names: Sequence[str]) -> None:
    """Write the model's weights, whole or not at all, with the names of the classes in the order of the outputs."""
    with without_optimizer(model), whole_file(path) as temporary:
        model.save_weights(temporary, overwrite=True)
        stamp(temporary, class_names)
