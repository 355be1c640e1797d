"""What can be read from, or cut out of, a built network: feature maps, the network without its top, and its cost.

Every functional model has these without a line in its plugin; the plugin only names its layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnn_registry import backend

if TYPE_CHECKING:
    import keras

MAIN = "predictions"
"""The output that counts in a network with auxiliary heads; theirs have names of their own."""

Pooling = Literal["avg", "max"]

BYTES = 4
"""Of a float32."""


@dataclass(frozen=True)
class Cost:
    """What one image costs in inference.

    Attributes:
        macs: multiplications with addition, of convolutions and dense layers.
        parameter_bytes: of all weights as float32.
        activation_bytes: of the outputs of all layers together, as float32: what training keeps for one image.
    """

    macs: int
    parameter_bytes: int
    activation_bytes: int


def main_network(model: keras.Model) -> keras.Model:
    """The network to its main output alone, with the same weights."""
    # A sequential or subclassed model has no such attribute, and one output.
    outputs = getattr(model, "output", None)
    if not isinstance(outputs, dict):
        return model
    return backend.keras().Model(model.input, outputs[MAIN], name=model.name)


def feature_network(model: keras.Model, layers: Mapping[str, str]) -> keras.Model:
    """The network to the outputs of some of its layers.

    Args:
        model: a functional or sequential model with one input.
        layers: names of layers, by the names under which their outputs are wanted.

    Returns:
        A model whose output is a dict from those names to maps ``(batch, height, width, channels)``.
    """
    outputs = {name: model.get_layer(layer).output for name, layer in layers.items()}
    return backend.keras().Model(*model.inputs, outputs, name=model.name)


def headless_network(model: keras.Model, last: str, pooling: Pooling | None) -> keras.Model:
    """The network to the layer ``last``: maps ``(batch, h, w, channels)``, or pooled, ``(batch, channels)``."""
    keras = backend.keras()
    x = model.get_layer(last).output
    if pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    return keras.Model(*model.inputs, x, name=model.name)


def cost(model: keras.Model) -> Cost:
    """The cost of a functional model for one image, counted in its graph."""
    layers = [layer for layer in model.layers if layer.__class__.__name__ != "InputLayer"]
    return Cost(
        macs=sum(macs(layer) for layer in layers),
        parameter_bytes=BYTES * model.count_params(),
        activation_bytes=BYTES * sum(_size(layer.output.shape) for layer in layers),
    )


def macs(layer: Any) -> int:
    """Multiplications with addition of one layer for one image.

    A kernel is applied once at each place of a convolution's output, and once in a dense layer.

    In a convolution each output channel's kernel has as many weights as one group's input; the kernel's own shape says
    how many those are.
    """
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    places = math.prod(layer.output.shape[1:-1])
    return int(places * math.prod(kernel.shape))


def _size(shape: tuple[int | None, ...]) -> int:
    return math.prod(n for n in shape[1:] if n is not None)
