"""A network in two parts, each traced once, for its outputs and for what explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import has_graph
from cnn_registry.networks.graph import traced_call

if TYPE_CHECKING:
    import keras


class Halves:
    """A network from images to a feature map, and from there to its outputs.

    To trace a network of hundreds of layers takes as long as to evaluate hundreds of images, so whoever needs its
    outputs and then its features has them from here. The outputs are those of the whole network, bit for bit.

    Args:
        network: a functional or sequential model with one output.
        layer: the layer whose output is the feature map.

    Attributes:
        feature: that output, as a symbolic tensor.
        features: the traced function from images, float32 ``(N, height, width, channels)``, to the feature map.

    Raises:
        ValueError: a path leads around the layer, as in networks whose blocks begin with the activation.
    """

    def __init__(self, network: keras.Model, layer: str) -> None:
        tf, keras = backend.tensorflow(), backend.keras()
        self.feature = network.get_layer(layer).output
        body = keras.Model(network.inputs, self.feature, name="body")
        head = keras.Model(self.feature, network.outputs[0], name="head")
        images = tf.TensorSpec(network.inputs[0].shape)
        self.features = traced_call(body, images)
        self._outputs = traced_call(head, self.features.structured_outputs)

    def __call__(self, images: Any) -> Any:
        """The outputs of images."""
        return self._outputs(self.features(images))


def halves_at(network: keras.Model, layer: str) -> Halves | None:
    """The halves of a network, or ``None`` where it cannot be parted at the layer."""
    try:
        return Halves(network, layer) if has_graph(network) else None
    except ValueError:
        return None
