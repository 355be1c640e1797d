"""First values of kernels that Keras has no initializer for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="cnn_registry")
class NearIdentity(keras.initializers.Initializer):  # type: ignore[misc]  # Keras ships no type information
    """A kernel that passes on what it gets, and a little of He's random one beside it.

    For deep networks of ReLUs without shortcuts and without normalisation: at first the layers with as many outputs as
    inputs let everything pass, and the network learns as quickly as the one without them. After a ReLU an identity
    preserves every value, as Le et al. 2015 (https://arxiv.org/abs/1504.00941) use for recurrent layers; Zagoruyko &
    Komodakis 2017 (https://arxiv.org/abs/1706.00388) start deep plain convolutional networks so, and keep the identity
    through the training, which this does not. Kernels with another number of outputs than inputs, and those of
    convolutions in groups, are He's alone (`keras.initializers.HeNormal`).

    A recipe or a plugin names it ``"cnn_registry>NearIdentity"``, once `cnn_registry.blocks` is imported.

    Args:
        noise: factor of He's kernel where there is an identity, from 0 on. With 0 the filters of a layer differ by the
            channel that they pass alone.
        seed: of the random kernel; ``None``: drawn from Keras' global seed.
    """

    def __init__(self, noise: float = 0.1, seed: int | None = None) -> None:
        self.noise, self.seed = noise, seed
        self._he_normal = keras.initializers.HeNormal(seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """The kernel: ``(*sizes, inputs, outputs)``, of a dense layer or of a convolution with ``"same"`` padding."""
        random = self._he_normal(shape, dtype)
        *sizes, inputs, outputs = shape
        if inputs != outputs:
            return random
        middle = np.zeros((*sizes, 1, 1))
        middle[*((size - 1) // 2 for size in sizes), 0, 0] = 1
        return keras.ops.cast(middle, random.dtype) * keras.ops.eye(inputs, dtype=random.dtype) + self.noise * random

    def get_config(self) -> dict[str, Any]:
        """What the initializer is made from, for saving."""
        return {"noise": self.noise, "seed": self.seed}
