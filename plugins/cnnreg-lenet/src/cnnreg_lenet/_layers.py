"""The layers of LeNet-5 (LeCun et al. 1998) that Keras lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import keras
import numpy as np

from cnn_registry.blocks import Activation, Initializer, LayerOptions

PACKAGE = "cnnreg_lenet"
CODE_SEED = 1998


@keras.saving.register_keras_serializable(PACKAGE)  # type: ignore[untyped-decorator]  # Keras ships no type information
def scaled_tanh(x: keras.KerasTensor) -> keras.KerasTensor:
    """``1.7159 tanh(2/3 x)``, which is close to the identity at -1 and 1 (appendix A)."""
    return 1.7159 * keras.ops.tanh(2 / 3 * x)


@keras.saving.register_keras_serializable(PACKAGE)
class Subsampling(keras.layers.Layer):  # type: ignore[misc]  # as above
    """The sum of each 2x2 square, times a factor per map, plus a bias per map, activated (section II.B, S2).

    It maps ``(batch, height, width, channels)`` to ``(batch, height // 2, width // 2, channels)``. The initial factor
    makes it an average.

    Args:
        activation: Keras activation.
        **options: keyword options of every Keras layer, such as ``name``.
    """

    def __init__(self, activation: Activation, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make a factor and a bias per map."""
        quarter = keras.initializers.Constant(0.25)
        self.factor = self.add_weight(shape=input_shape[-1:], initializer=quarter, name="factor")
        self.bias = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="bias")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The subsampled ``inputs``."""
        sums = 4 * keras.ops.average_pool(inputs, 2, strides=2, data_format="channels_last")
        return self.activation(sums * self.factor + self.bias)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer, for saving."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


@keras.saving.register_keras_serializable(PACKAGE)
class PartialConv2D(keras.layers.Layer):  # type: ignore[misc]  # as above
    """A convolution whose output maps each see only some input maps (section II.B, C3).

    It maps ``(batch, height, width, channels)`` to ``(batch, height - kernel_size + 1, width - kernel_size + 1,
    maps)``. The kernel has one slice ``(kernel_size, kernel_size)`` per connection, in the order of ``connections``.

    Args:
        connections: the numbers of the input maps that each output map sees.
        kernel_size: height and width of the kernel in pixels.
        activation: Keras activation.
        kernel_initializer: Keras initializer; it draws the kernel of a convolution that sees all maps.
        **options: keyword options of every Keras layer, such as ``name``.
    """

    def __init__(
        self,
        connections: Sequence[Sequence[int]],
        kernel_size: int,
        *,
        activation: Activation,
        kernel_initializer: Initializer,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        self.connections = tuple(map(tuple, connections))
        self.kernel_size = kernel_size
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Make one slice of the kernel per connection and one bias per map."""
        channels, maps = input_shape[-1], len(self.connections)
        pairs = [(channel, number) for number, seen in enumerate(self.connections) for channel in seen]
        self.dense_shape = (self.kernel_size, self.kernel_size, channels, maps)
        # Row i has a one in the column of slice i in the kernel of a convolution that sees all maps.
        self.places = np.zeros((len(pairs), channels * maps), "float32")
        for row, (channel, number) in enumerate(pairs):
            self.places[row, channel * maps + number] = 1

        def initial(shape: tuple[int, ...], dtype: str) -> Any:
            every = self.kernel_initializer(self.dense_shape, dtype)
            return keras.ops.reshape(every, (*shape[:2], -1)) @ keras.ops.transpose(self.places)

        shape = (self.kernel_size, self.kernel_size, len(pairs))
        self.kernel = self.add_weight(shape=shape, initializer=initial, name="kernel")
        self.bias = self.add_weight(shape=(maps,), initializer="zeros", name="bias")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The convolved ``inputs``."""
        places = keras.ops.cast(self.places, self.compute_dtype)
        kernel = keras.ops.reshape(keras.ops.matmul(self.kernel, places), self.dense_shape)
        return self.activation(keras.ops.conv(inputs, kernel, data_format="channels_last") + self.bias)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer, for saving."""
        return {
            **super().get_config(),
            "connections": self.connections,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(PACKAGE)
class NegativeSquaredDistance(keras.layers.Layer):  # type: ignore[misc]  # as above
    """The negative squared distance of the features from a fixed code per class (equation 7 with the sign changed).

    It maps ``(batch, features)`` to ``(batch, units)``; the nearest code gives the greatest output. The codes consist
    of -1 and 1. They are drawn at random with a fixed seed, and are not trained.

    Args:
        units: number of classes.
        activation: Keras activation; ``None`` for the distances themselves.
        **options: keyword options of every Keras layer, such as ``name``.
    """

    def __init__(self, units: int, *, activation: Activation, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Draw the codes."""
        shape = (input_shape[-1], self.units)
        codes = np.random.default_rng(CODE_SEED).choice([-1.0, 1.0], shape)
        self.codes = self.add_weight(
            shape=shape, initializer=lambda shape, dtype: keras.ops.cast(codes, dtype), trainable=False, name="codes"
        )

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The activated outputs for ``inputs``."""
        differences = inputs[:, :, None] - self.codes
        return self.activation(-keras.ops.sum(keras.ops.square(differences), axis=1))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer, for saving."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
        }
