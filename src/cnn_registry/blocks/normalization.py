"""Normalisation that Keras has no layer for."""

from __future__ import annotations

from typing import Any

import keras

from cnn_registry.errors import UsageError


@keras.saving.register_keras_serializable(package="cnn_registry")
class LocalResponseNormalization(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    """Divide each response by what its neighbours in the channel axis have, at the same place of the image.

    ``x[c] / (k + alpha * sum(x[i] ** 2 for the size channels i around c)) ** beta``, as Krizhevsky et al. (2012,
    section 3.3) have it; beyond the first and the last channel there is nothing to add. Caffe and PyTorch divide
    ``alpha`` by ``size``; TensorFlow and the paper's text, and so this layer, do not.

    It has no weights. Input and output: ``(batch, height, width, channels)``, or any shape that ends in the channels.

    Args:
        size: number of channels summed over, odd; the paper's n. TensorFlow's ``depth_radius`` is ``size // 2``.
        alpha: factor of the sum.
        beta: exponent.
        k: what is added to the sum, so that a weak response is not divided by nothing.
        **options: keyword arguments of `keras.layers.Layer`, as ``name``.

    Raises:
        UsageError: ``size`` is not an odd number from 1 on.
    """

    def __init__(
        self, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, **options: Any
    ) -> None:
        super().__init__(**options)
        if size < 1 or size % 2 == 0:
            raise UsageError(
                f"The size of a local response normalisation must be odd, to have a middle channel; got {size}."
            )
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The normalised ``inputs``."""
        channels, radius = inputs.shape[-1], self.size // 2
        beyond = [(0, 0)] * (len(inputs.shape) - 1) + [(radius, radius)]
        squares = keras.ops.pad(keras.ops.square(inputs), beyond)
        around = sum(squares[..., first : first + channels] for first in range(self.size))
        return inputs * keras.ops.power(self.k + self.alpha * around, -self.beta)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What the layer is made from, for saving."""
        own = {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}
        return {**super().get_config(), **own}
