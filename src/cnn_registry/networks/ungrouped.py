"""Grouped convolutions as what they are: convolutions of parts of the channels, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import has_graph

from .graph import as_functional

if TYPE_CHECKING:
    import keras


def split_groups(model: keras.Model) -> keras.Model:
    """A network that computes the same without grouped convolutions.

    On a CPU, Keras compiles a grouped convolution with XLA. That leaves a function call in the graph for which other
    runtimes have no operation.

    Args:
        model: any model. Only functional and sequential models can be changed.

    Returns:
        A network in which the channels are split, each part has a convolution of its own, and the results are
        concatenated. It shares its other layers with ``model``; it is ``model`` itself where nothing is grouped.
    """
    keras = backend.keras()
    grouped = {layer.name for layer in model.layers if _is_grouped(layer)}
    if not grouped or not has_graph(model):
        return model
    parts: dict[str, list[Any]] = {}

    def called(layer: Any, inputs: Any, **options: Any) -> Any:
        if layer.name not in grouped:
            return layer(inputs, **options)
        parts[layer.name] = [_part(layer, number) for number in range(layer.groups)]
        pieces = keras.ops.split(inputs, layer.groups, axis=-1)
        outputs = [part(piece) for part, piece in zip(parts[layer.name], pieces, strict=True)]
        return keras.ops.concatenate(outputs, axis=-1)

    model = as_functional(model)
    split = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=called)
    for name, convolutions in parts.items():
        layer = model.get_layer(name)
        # The filters, the last axis of the kernel and of the bias, are in the order of the groups.
        weights = [np.split(keras.ops.convert_to_numpy(weight), layer.groups, axis=-1) for weight in layer.weights]
        for convolution, own in zip(convolutions, zip(*weights, strict=True), strict=True):
            convolution.set_weights(own)
    return split


def _is_grouped(layer: Any) -> bool:
    is_known = type(layer) is backend.keras().layers.Conv2D and layer.data_format == "channels_last"
    return is_known and layer.groups > 1


def _part(layer: Any, number: int) -> Any:
    """A convolution of one group."""
    changes = {"name": f"{layer.name}_{number}", "groups": 1, "filters": layer.filters // layer.groups}
    return type(layer).from_config(layer.get_config() | changes)
