"""Batch normalisation folded into the convolutions before it: in inference both are linear."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import calls_of, graph_is_known, has_graph

from .graph import as_functional

if TYPE_CHECKING:
    import keras


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A network for inference that computes the same with fewer passes through memory.

    A normalisation directly after a convolution without activation becomes part of the convolution's kernel and bias.
    Where the activation comes first, as in the order ``"relu_bn"``, nothing can be folded.

    Args:
        model: any model. Only functional and sequential models whose layers are each used once can be folded.

    Returns:
        A network with convolutions of its own, which shares its other layers with ``model``; or ``model`` itself where
        nothing can be folded.
    """
    keras = backend.keras()
    pairs = _pairs(model)
    if not pairs:
        return model
    normalisations = {normalisation.name for normalisation in pairs.values()}

    def copied(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config() | {"use_bias": True}) if layer.name in pairs else layer

    def called(layer: Any, inputs: Any, **options: Any) -> Any:
        return inputs if layer.name in normalisations else layer(inputs, **options)

    model = as_functional(model)
    convolutions = {name: model.get_layer(name) for name in pairs}
    folded = keras.models.clone_model(model, clone_function=copied, call_function=called)
    for name, convolution in convolutions.items():
        folded.get_layer(name).set_weights(_together(convolution, pairs[name]))
    return folded


def _pairs(model: keras.Model) -> dict[str, Any]:
    """The normalisations that can be folded, by the names of their convolutions."""
    if not has_graph(model) or not graph_is_known():
        return {}
    keras = backend.keras()
    every = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if any(len(calls_of(layer)) != 1 for layer in every):
        return {}  # a layer is used twice
    uses = Counter(id(tensor) for layer in every for tensor in keras.tree.flatten(layer.input))
    uses.update(id(tensor) for tensor in model.outputs)
    linear = {
        id(layer.output): layer
        for layer in every
        if type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear
    }
    following = [
        (linear[id(layer.input)], layer)
        for layer in every
        if type(layer) is keras.layers.BatchNormalization and uses[id(layer.input)] == 1 and id(layer.input) in linear
    ]
    return {convolution.name: layer for convolution, layer in following if _is_of_channels(layer, convolution)}


def _is_of_channels(normalisation: Any, convolution: Any) -> bool:
    """Whether each filter has a statistic of its own, and not each row or column of the map."""
    axis = -1 if convolution.data_format == "channels_last" else -3
    return normalisation.axis in (axis, axis + 4)


def _together(convolution: Any, normalisation: Any) -> list[np.ndarray]:
    """Kernel and bias of both as one convolution."""
    numpy = backend.keras().ops.convert_to_numpy
    factor = 1 / np.sqrt(numpy(normalisation.moving_variance) + normalisation.epsilon)
    if normalisation.scale:
        factor = factor * numpy(normalisation.gamma)
    bias = -numpy(normalisation.moving_mean) * factor
    if convolution.use_bias:
        bias = bias + numpy(convolution.bias) * factor
    if normalisation.center:
        bias = bias + numpy(normalisation.beta)
    return [numpy(convolution.kernel) * factor, bias]
