"""The networks as Keras builds them, without its rescaling, and with names that are the same in every build."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import keras

from ._families import FAMILIES

HALF = 127.5
"""Pixels from 0 to 255 are this times pixels from -1 to 1, plus this."""


@keras.saving.register_keras_serializable("cnnreg_keras_applications")
class LayerScale(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    """Multiplies each channel by a weight. Keras' own layer leaves the weight without a name, and numbers it.

    Args:
        init_values: the weights at first.
        projection_dim: number of channels.
        **options: those of every layer.
    """

    def __init__(self, init_values: float, projection_dim: int, **options: Any) -> None:
        super().__init__(**options)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weight."""
        initializer = keras.initializers.Constant(self.init_values)
        self.gamma = self.add_weight(shape=(self.projection_dim,), initializer=initializer, name="gamma")

    def call(self, inputs: Any) -> Any:
        """The scaled maps."""
        return inputs * self.gamma

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        own = {"init_values": self.init_values, "projection_dim": self.projection_dim}
        return {**super().get_config(), **own}


def build(
    constructor: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Build a network with random weights."""
    family = FAMILIES[constructor]
    network = getattr(keras.applications, constructor)(
        weights=None,
        input_shape=input_shape,
        classes=num_classes,
        classifier_activation=classifier_activation,
        **family.arguments,
    )
    return _named(_without_rescaling(network, family.begins_at), name)


def trained(constructor: str, weights: str) -> keras.Model:
    """The network with the weights that Keras downloads, in the form of `build`."""
    family = FAMILIES[constructor]
    network = getattr(keras.applications, constructor)(weights=weights, **family.arguments)
    network = _without_rescaling(network, family.begins_at)
    ours = _named(network, constructor)
    ours.set_weights(network.get_weights())
    return ours


def _without_rescaling(network: keras.Model, begins_at: str | None) -> keras.Model:
    if begins_at is None:
        return network
    return keras.Model(network.get_layer(begins_at).input, network.output)


def _named(network: keras.Model, name: str) -> keras.Model:
    """The network once more, with layers of its own that are named by their place in it.

    Keras numbers layers without a name by what was built before. Variables keep the name with which they are made, so
    the layers are made again from their settings.
    """
    names = _names(network)

    def again(operation: Any) -> Any:
        if isinstance(operation, keras.layers.Rescaling):  # made for pixels from 0 to 255
            scale, offset = operation.scale * HALF, operation.offset + operation.scale * HALF
            return keras.layers.Rescaling(scale, offset, name=names[id(operation)])
        if isinstance(operation, keras.layers.Layer):
            kind = LayerScale if type(operation).__name__ == "LayerScale" else type(operation)
            return kind.from_config(operation.get_config() | {"name": names[id(operation)]})
        if _is_sum(operation):  # a layer can be a feature, an operation cannot
            return keras.layers.Add(name=names[id(operation)])
        return operation

    def call(layer: Any, *inputs: Any, **arguments: Any) -> Any:
        if isinstance(layer, keras.layers.Add) and len(inputs) > 1:
            return layer(list(inputs))
        return layer(*inputs, **arguments)

    inputs = keras.Input(network.input.shape[1:])
    clone = keras.models.clone_model(network, inputs, clone_function=again, call_function=call)
    return keras.Model(clone.inputs[0], clone.output, name=name)


def _names(network: keras.Model) -> dict[int, str]:
    """New names by the identity of layers and sums: their own, or numbers from the network's first layer of a kind."""
    counts: Counter[str] = Counter()
    names = {}
    for operation in network.operations:
        if not isinstance(operation, keras.layers.Layer) and not _is_sum(operation):
            continue
        kind = _snake_case(type(operation).__name__)
        names[id(operation)] = operation.name
        if re.fullmatch(rf"{kind}(_\d+)?", operation.name):
            names[id(operation)] = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
    return names


def _is_sum(operation: Any) -> bool:
    """Whether it is the sum of two maps, which is written with ``+`` in some networks."""
    is_sum = type(operation).__name__ == "Add" and not isinstance(operation, keras.layers.Layer)
    return is_sum and isinstance(operation.input, list | tuple) and len(operation.input) == 2


def _snake_case(name: str) -> str:
    """``zero_padding2d`` for ``ZeroPadding2D``, as Keras names layers."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
