"""What can be read from, or cut out of, a built network: feature maps, the network without its top, and its cost.

Every functional model has these without code in its plugin; the plugin only names its layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnn_registry import backend

if TYPE_CHECKING:
    import keras

MAIN = "predictions"
"""The main output of a network with auxiliary heads; theirs have other names."""

Pooling = Literal["avg", "max"]

BYTES = 4
"""The size of a float32."""


@dataclass(frozen=True)
class Cost:
    """The cost of inference for one image.

    Attributes:
        macs: multiply-accumulate operations of convolutions and dense layers.
        parameter_bytes: the size of all weights as float32.
        activation_bytes: the size of the outputs of all layers as float32, which training keeps for one image.
    """

    macs: int
    parameter_bytes: int
    activation_bytes: int


def main_network(model: keras.Model) -> keras.Model:
    """The network that ends in its main output only, with the same weights."""
    # A sequential or subclassed model has no such attribute, and one output.
    outputs = getattr(model, "output", None)
    if not isinstance(outputs, dict):
        return model
    return backend.keras().Model(model.input, outputs[MAIN], name=model.name)


def as_functional(model: keras.Model) -> keras.Model:
    """A sequential model as a functional one of the same layers, as ``clone_model`` would copy it otherwise."""
    keras = backend.keras()
    if not isinstance(model, keras.Sequential):
        return model
    return keras.Model(*model.inputs, *model.outputs, name=model.name)


def feature_network(model: keras.Model, layers: Mapping[str, str]) -> keras.Model:
    """The network that ends in the outputs of some of its layers.

    Args:
        model: a functional or sequential model with one input.
        layers: names of layers, by the names that their outputs should have.

    Returns:
        A model whose output is a dict from those names to maps ``(batch, height, width, channels)``.
    """
    outputs = {name: model.get_layer(layer).output for name, layer in layers.items()}
    return backend.keras().Model(*model.inputs, outputs, name=model.name)


def headless_network(model: keras.Model, last: str, pooling: Pooling | None) -> keras.Model:
    """The network up to ``last``: maps ``(batch, height, width, channels)``, or pooled, ``(batch, channels)``."""
    keras = backend.keras()
    x = model.get_layer(last).output
    if pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    return keras.Model(*model.inputs, x, name=model.name)


def traced_call(model: keras.Model, spec: Any) -> Any:
    """The model in inference as a function that is traced once, for inputs of the form of ``spec``.

    `keras.Model.predict` traces again for the last batch, which is smaller, and after some evaluations TensorFlow warns
    about that.
    """
    function = backend.tensorflow().function(lambda inputs: model(inputs, training=False), autograph=False)
    return function.get_concrete_function(spec)


def cost(model: keras.Model) -> Cost:
    """The cost of a functional model for one image, counted in its graph."""
    layers = list(_layers(model))
    return Cost(
        macs=sum(macs(layer) for layer in layers),
        parameter_bytes=BYTES * model.count_params(),
        activation_bytes=BYTES * sum(_size(layer.output.shape) for layer in layers),
    )


def _layers(model: Any) -> Iterator[Any]:
    """All layers except the inputs, those of models in the model in the place of these."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        elif not isinstance(layer, backend.keras().layers.InputLayer):
            yield layer


def macs(layer: Any) -> int:
    """Multiply-accumulate operations of one layer for one image.

    A convolution applies its kernel once at each position of its output, a separable one both of its kernels, a dense
    layer its kernel once. With groups, the kernel's shape already has the channels of one group only.
    """
    kernels = [getattr(layer, name, None) for name in ("kernel", "depthwise_kernel", "pointwise_kernel")]
    shapes = [kernel.shape for kernel in kernels if kernel is not None]
    return sum(math.prod(layer.output.shape[1:-1]) * math.prod(shape) for shape in shapes)


def _size(shape: tuple[int | None, ...]) -> int:
    return math.prod(n for n in shape[1:] if n is not None)
