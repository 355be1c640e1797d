"""Normalisation that Keras has no layer for."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

import keras

from cnn_registry.errors import UsageError

from .conv import channel_axis


class LayerOptions(TypedDict, total=False):
    """The options of every Keras layer.

    Attributes:
        name: the layer's name; default: Keras numbers them.
        trainable: whether training changes its weights; default true.
        dtype: the type of its weights and computations, or a policy; default Keras' own.
    """

    name: str | None
    trainable: bool
    dtype: str | keras.DTypePolicy | None


@keras.saving.register_keras_serializable(package="cnn_registry")
class LocalResponseNormalization(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    """Divide each response by those of the neighbouring channels at the same position.

    The output is ``x[c] / (k + alpha * sum(x[i] ** 2 for the size channels i around c)) ** beta``, as in Krizhevsky et
    al. (2012), section 3.3. Channels before the first and after the last add nothing to the sum. Caffe and PyTorch
    divide ``alpha`` by ``size``; TensorFlow, the paper's text and this layer do not.

    The layer has no weights. Input and output have the shape ``(batch, height, width, channels)``, or any other that
    ends in the channels; under Keras' ``image_data_format="channels_first"``, the channels come after the batch.

    Args:
        size: number of channels in the sum, odd; the paper's n. TensorFlow's ``depth_radius`` is ``size // 2``.
        alpha: factor of the sum.
        beta: exponent.
        k: constant added to the sum, so that a weak response is not divided by zero.
        axis: the axis of the channels; default that of Keras' ``image_data_format``.
        **options: keyword options of every Keras layer, such as ``name``.

    Raises:
        UsageError: ``size`` is not a positive odd number.
    """

    def __init__(
        self,
        size: int = 5,
        *,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        axis: int | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        if size < 1 or size % 2 == 0:
            raise UsageError(
                f"The size of a local response normalisation must be odd, so that it has a middle channel; got {size}."
            )
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.axis = channel_axis() if axis is None else axis

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The normalised ``inputs``."""
        if self.axis in (-1, len(inputs.shape) - 1):
            return self._normalized(inputs)
        last = keras.ops.moveaxis(inputs, self.axis, -1)
        return keras.ops.moveaxis(self._normalized(last), -1, self.axis)

    def _normalized(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The normalised ``inputs``, whose last axis is that of the channels."""
        channels, radius = inputs.shape[-1], self.size // 2
        beyond = [(0, 0)] * (len(inputs.shape) - 1) + [(radius, radius)]
        squares = keras.ops.pad(keras.ops.square(inputs), beyond)
        around = sum(squares[..., first : first + channels] for first in range(self.size))
        return inputs * keras.ops.power(self.k + self.alpha * around, -self.beta)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the output, which is ``input_shape``."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the layer, for saving."""
        own = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k, "axis": self.axis}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LocalResponseNormalization:
        """The layer with the saved arguments in ``config``; where they name no axis, the channels come last."""
        return cls(**{"axis": -1} | config)
