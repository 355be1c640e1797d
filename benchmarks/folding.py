"""Batch normalisation taken into the convolutions before it: in inference both are linear."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend

if TYPE_CHECKING:
    import keras


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A network for inference that computes the same with fewer steps through memory.

    A normalisation whose only input is a convolution without activation becomes part of that convolution's kernel and
    bias. Where the activation comes first, as in the order ``"relu_bn"``, nothing can be folded.

    Args:
        model: functional or sequential, each layer used once.

    Returns:
        A copy with weights of its own, without the folded layers; ``model`` itself where nothing can be folded.
    """
    keras = backend.keras()
    pairs = _pairs(model)
    if not pairs:
        return model
    convolutions, normalisations = set(pairs), {layer.name for layer in pairs.values()}

    def copied(layer: Any) -> Any:
        bias = {"use_bias": True} if layer.name in convolutions else {}
        return type(layer).from_config(layer.get_config() | bias)

    def called(layer: Any, inputs: Any, **options: Any) -> Any:
        return inputs if layer.name in normalisations else layer(inputs, **options)

    functional = keras.Model(model.inputs, model.output, name=model.name)  # a sequential one is cloned otherwise
    folded = keras.models.clone_model(functional, clone_function=copied, call_function=called)
    for layer in model.layers:
        if layer.name in convolutions:
            folded.get_layer(layer.name).set_weights(_together(layer, pairs[layer.name]))
        elif layer.weights and layer.name not in normalisations:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded


def _pairs(model: keras.Model) -> dict[str, Any]:
    """The normalisations that can be folded, by the names of their convolutions."""
    layers = backend.keras().layers
    every = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    if any(len(layer._inbound_nodes) != 1 for layer in every):
        return {}  # a layer that is used twice has more than one input
    uses = Counter(id(tensor) for layer in every for tensor in backend.keras().tree.flatten(layer.input))
    uses.update(id(tensor) for tensor in model.outputs)
    linear = {
        id(layer.output): layer.name
        for layer in every
        if type(layer) is layers.Conv2D and layer.activation is backend.keras().activations.linear
    }
    return {
        linear[id(layer.input)]: layer
        for layer in every
        if type(layer) is layers.BatchNormalization and id(layer.input) in linear and uses[id(layer.input)] == 1
    }


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
