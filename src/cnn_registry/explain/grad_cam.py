"""Grad-CAM: which places of an image speak for a class.

Selvaraju et al. 2017, "Grad-CAM: Visual explanations from deep networks via gradient-based localization", section 3,
https://arxiv.org/abs/1610.02391.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import call_of, graph_is_known, has_graph
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.errors import UsageError
from cnn_registry.inference.halves import Halves, halves_at
from cnn_registry.inference.model import Weights, load_network, refuse_not_finite, spec_of
from cnn_registry.registry.spec import Feature, Pixels
from cnn_registry.runs.run import Run
from cnn_registry.text import suggestion

if TYPE_CHECKING:
    import keras

BATCH_SIZE = 16
"""Images that go through the network together."""


@dataclass(frozen=True)
class Maps:
    """Which places of some images speak for a class of each.

    Attributes:
        maps: float32 ``(N, height, width)`` at the resolution of the feature map, 0 or more, not scaled: the larger,
            the more a place speaks for the class. All zeros where nothing does.
        classes: int64 ``(N,)``, the explained classes.
        probabilities: float32 ``(N, num_classes)``, what the network says of the images.
    """

    maps: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray


class GradCam:
    """Explains a network's outputs by one of its feature maps.

    The weight of each channel is the mean, over all positions, of the gradient of the class's score before the softmax;
    the map is the weighted sum of the channels, where it is positive.

    Args:
        network: a functional or sequential model from images to probabilities.
        layer: the layer whose output is the feature map.
        pixels: the form in which the network takes its pixels.
        halves: the network's, at that layer, if they have been traced; default ``None``.

    Raises:
        UsageError: the model is subclassed.
    """

    def __init__(self, network: keras.Model, layer: str, pixels: Pixels, halves: Halves | None = None) -> None:
        if not has_graph(network):
            raise UsageError(f"{network.name} is a subclassed model, which has no graph whose features could be read.")
        with backend.standard_settings():
            halves = halves or halves_at(network, layer)
            self._explained = _traced_halves(network, halves) if halves else _traced_whole(network, layer)
        self._num_classes, self._pixels = network.outputs[0].shape[-1], pixels

    @classmethod
    def of_run(cls, run: Run, feature: str | None = None, *, weights: Weights = "best", force: bool = False) -> GradCam:
        """The maps of the model of a run.

        Args:
            run: the run.
            feature: a feature of the model's spec, such as ``"stride16"``, or a layer; default the last feature.
            weights, force: as for `cnn_registry.load_model`.

        Raises:
            UsageError: the model has no such feature or layer.
            CnnRegistryError: as `cnn_registry.load_model`.
        """
        spec = spec_of(run)
        with backend.standard_settings():
            network = load_network(run, spec, weights, force=force)
        return cls(network, layer_of(network, spec.features, feature), run.record.recipe.pixels)

    def __call__(self, images: Bytes, classes: Sequence[int] | None = None, *, rank: int = 0) -> Maps:
        """The maps of images.

        Args:
            images: uint8 ``(N, height, width, channels)`` in the network's form.
            classes: the class to explain of each image; default by ``rank``.
            rank: 0 for the most probable class, 1 for the runner-up, and so on.

        Raises:
            UsageError: the model has no class at that rank.
            WeightsError: a probability is NaN or infinite.
        """
        if classes is None:
            if not rank < self._num_classes:
                raise UsageError(f"The model has {self._num_classes} classes; there is none at rank {rank}.")
            classes = [-1] * len(images)
        tf, parts = backend.tensorflow(), []
        for start in range(0, len(images), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            given = (scale(images[batch], self._pixels).astype(np.float32), np.array(classes[batch], np.int64), rank)
            parts.append([part.numpy() for part in self._explained(*map(tf.constant, given))])
        maps = Maps(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        refuse_not_finite(maps.probabilities)
        return maps


Explained = Callable[[Any, Any, Any], tuple[Any, Any, Any]]
"""A function of images, classes (-1 for the one at a rank) and that rank: maps, explained classes, probabilities.

It is traced once: layer by layer, a network of hundreds of layers would take seconds for each batch.
"""


def _traced_halves(network: keras.Model, halves: Halves) -> Explained:
    """No activation before the feature map is kept."""
    tf, keras = backend.tensorflow(), backend.keras()
    head = keras.Model(halves.feature, [_scores(network), network.outputs[0]], name="scores")

    def explained(features: Any, classes: Any, rank: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(features)
            scores, outputs = head(features, training=False)
            chosen, score = _chosen(scores, outputs, classes, rank)
        return _maps(features, tape.gradient(score, features)), chosen, tf.cast(outputs, tf.float32)

    traced = _traced(explained, halves.features.structured_outputs)
    return lambda images, classes, rank: traced(halves.features(images), classes, rank)


def _traced_whole(network: keras.Model, layer: str) -> Explained:
    """For a network in which a path leads around the feature map."""
    tf, keras = backend.tensorflow(), backend.keras()
    feature, scored, output = network.get_layer(layer).output, _scores(network), network.outputs[0]
    whole = keras.Model(network.inputs, [feature, scored, output], name="whole")

    def explained(images: Any, classes: Any, rank: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            features, scores, outputs = whole(images, training=False)
            chosen, score = _chosen(scores, outputs, classes, rank)
        return _maps(features, tape.gradient(score, features)), chosen, tf.cast(outputs, tf.float32)

    return _traced(explained, tf.TensorSpec(network.inputs[0].shape))


def _traced(explained: Explained, first: Any) -> Explained:
    tf = backend.tensorflow()
    signature = [first, tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int32)]
    return tf.function(explained, autograph=False).get_concrete_function(*signature)  # type: ignore[no-any-return]


def _chosen(scores: Any, outputs: Any, classes: Any, rank: Any) -> tuple[Any, Any]:
    """The explained classes, and the sum of their scores over the images."""
    tf = backend.tensorflow()
    ranked = tf.argsort(outputs, direction="DESCENDING", stable=True)[:, rank]
    chosen = tf.where(classes < 0, tf.cast(ranked, tf.int64), classes)
    return chosen, tf.reduce_sum(tf.gather(scores, chosen, axis=1, batch_dims=1))


def _maps(features: Any, gradient: Any) -> Any:
    """The features weighted by the mean gradient of their channel, where that is positive."""
    tf = backend.tensorflow()
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    return tf.cast(tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)), tf.float32)


def layer_of(network: keras.Model, features: Mapping[str, Feature], name: str | None) -> str:
    """The layer whose output is to be explained.

    Args:
        network: the model.
        features: those of its spec.
        name: a feature or a layer; ``None`` for the last feature, or for the last layer with maps where the spec names
            no features.

    Raises:
        UsageError: the model has neither by that name.
    """
    with_maps = [str(layer.name) for layer in getattr(network, "layers", ()) if _has_maps(layer)]
    if name is None:
        if features:
            return str(list(features.values())[-1].layer)
        if with_maps:
            return with_maps[-1]
        raise UsageError(f"{network.name} has no layer with feature maps, so its classes cannot be located.")
    if name in features:
        return features[name].layer
    if name in with_maps:
        return name
    known = list(features) or with_maps
    raise UsageError(
        f"{network.name} has no feature or layer {name!r} with maps.{suggestion(name, [*features, *with_maps])} "
        f"It has: {', '.join(known)}."
    )


def _has_maps(layer: Any) -> bool:
    is_input = isinstance(layer, backend.keras().layers.InputLayer)
    return not is_input and len(getattr(getattr(layer, "output", None), "shape", ())) == 4


def _scores(network: keras.Model) -> Any:
    """What the softmax or the sigmoids at the end of a network take; else the logarithms of its outputs.

    The gradient of a probability vanishes where the network is sure.
    """
    keras = backend.keras()
    output = network.outputs[0]
    if graph_is_known():
        call = call_of(output)
        last, known = call.operation, (keras.activations.softmax, keras.activations.sigmoid)
        is_known = getattr(last, "activation", None) in known
        if isinstance(last, keras.layers.Softmax) or (isinstance(last, keras.layers.Activation) and is_known):
            return call.inputs[0]
        if type(last) is keras.layers.Dense and is_known:
            linear = keras.layers.Dense.from_config(last.get_config() | {"activation": "linear", "name": "scores"})
            scores = linear(call.inputs[0])
            linear.set_weights(last.get_weights())
            return scores
    return keras.ops.log(keras.ops.maximum(output, 1e-30))
