"""Layers that see a part of a batch and compute as if they saw the whole of it.

Where several replicas of a network each compute a part of a batch, most layers need nothing of the other parts. A batch
normalisation needs their statistics, and dropout its share of the numbers that are drawn for the whole batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from cnn_registry import backend
from cnn_registry.backend.keras_internals import Replacements, all_layers, methods_are_replaceable
from cnn_registry.backend.strategy import Distribution
from cnn_registry.system.progress import note

if TYPE_CHECKING:
    import keras
    from tensorflow import Tensor


class BatchPart(NamedTuple):
    """The part of a batch that is being computed, as scalar tensors.

    Attributes:
        start, stop: where it begins and ends in the batch.
        number: the number of images in the whole batch.
    """

    start: Tensor
    stop: Tensor
    number: Tensor

    @property
    def size(self) -> Tensor:
        """The number of its images; there may be one more, of another part, where it has none."""
        return self.stop - self.start


class Parts:
    """The parts that are being traced: one in each thread, as TensorFlow traces each replica in one of its own."""

    def __init__(self) -> None:
        self._thread = threading.local()

    @property
    def current(self) -> BatchPart | None:
        """The part of this thread; ``None`` outside a training step."""
        return getattr(self._thread, "part", None)

    @contextmanager
    def computing(self, part: BatchPart) -> Iterator[None]:
        """Within it, the layers compute ``part``."""
        self._thread.part = part
        try:
            yield
        finally:
            self._thread.part = None


def see_whole_batches(model: keras.Model, distribution: Distribution, *, synchronise: bool) -> Parts:
    """Have the layers of a model compute parts of batches as they compute them within the whole batch.

    Args:
        model: built.
        distribution: what computes the other parts.
        synchronise: whether a batch normalisation takes its statistics from the whole batch.

    Returns:
        Where the step says which part it computes.
    """
    parts, replacements, layers = Parts(), Replacements(), backend.keras().layers
    dropouts = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
    others = []
    for layer in all_layers(model):
        if type(layer) is layers.BatchNormalization:
            if synchronise and methods_are_replaceable():
                replacements.add(layer, "call", _normalization(layer, distribution, parts))
        elif type(layer) in dropouts and methods_are_replaceable():
            if layer.rate > 0:
                replacements.add(layer, "call", _dropout(layer, parts))
        elif hasattr(layer, "seed_generator"):
            others.append(layer.name)
    if others:
        note(
            f"The layers {', '.join(others[:3])}{' ...' if len(others) > 3 else ''} draw numbers of their own in each "
            f"worker, so this training differs from one on another number of workers."
        )
    return parts


def summed(distribution: Distribution, values: Tensor) -> Tensor:
    """The sum over all replicas, and in the gradient the sum of what all make of it."""
    tf = backend.tensorflow()

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow ships no type information
    def total(own: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return distribution.all_reduce_sum([own])[0], lambda upstream: distribution.all_reduce_sum([upstream])[0]

    return total(values)


def _normalization(layer: Any, distribution: Distribution, parts: Parts) -> Callable[..., Tensor]:
    """The ``call`` of a batch normalisation whose statistics are those of the whole batch."""
    tf, alone = backend.tensorflow(), layer.call

    def call(inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        part = parts.current
        if part is None or not training or not layer.trainable or mask is not None:
            return alone(inputs, training=training, mask=mask)
        axis = layer.axis % len(inputs.shape)
        axes = [other for other in range(len(inputs.shape)) if other != axis]
        shape = [inputs.shape[axis] if other == axis else 1 for other in range(len(inputs.shape))]
        values = tf.cast(inputs, tf.float32)
        own = values[: part.size]
        # Squares of distances from something near the mean lose no digits.
        near = tf.convert_to_tensor(layer.moving_mean)
        distances = own - tf.reshape(near, shape)
        count = tf.cast(tf.size(own), tf.float32) / inputs.shape[axis]
        sums = [tf.reduce_sum(distances, axes), tf.reduce_sum(distances**2, axes), count[None]]
        first, second, count = tf.split(
            summed(distribution, tf.concat(sums, 0)), [inputs.shape[axis], inputs.shape[axis], 1]
        )
        offset = first / count
        mean, variance = near + offset, tf.maximum(second / count - offset**2, 0.0)
        for moving, latest in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + latest * (1.0 - layer.momentum))
        scale = tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            scale *= tf.convert_to_tensor(layer.gamma)
        outputs = (values - tf.reshape(mean, shape)) * tf.reshape(scale, shape)
        if layer.center:
            outputs += tf.reshape(tf.convert_to_tensor(layer.beta), shape)
        return tf.cast(outputs, layer.compute_dtype)

    return call


def _dropout(layer: Any, parts: Parts) -> Callable[..., Tensor]:
    """The ``call`` of a dropout that keeps what it would keep of these images in the whole batch."""
    tf, alone = backend.tensorflow(), layer.call

    def call(inputs: Tensor, training: bool = False) -> Tensor:
        part = parts.current
        if part is None or not training:
            return alone(inputs, training=training)
        shape = tf.shape(inputs)
        whole = tf.concat([part.number[None], shape[1:]], 0)
        ones = tf.ones(whole, inputs.dtype)
        ones.set_shape((None, *inputs.shape[1:]))
        places = tf.minimum(part.start + tf.range(shape[0]), part.number - 1)
        return inputs * tf.gather(alone(ones, training=True), places)

    return call
