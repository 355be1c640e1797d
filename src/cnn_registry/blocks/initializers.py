"""Initial values of kernels that Keras has no initializer for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

Initializer: TypeAlias = str | dict[str, Any] | keras.initializers.Initializer | Callable[..., Any]
"""What Keras accepts as an initializer: its name, its configuration, an instance, or a function of shape and dtype."""


def own_initializer(initializer: Initializer) -> Initializer:
    """An initializer for a single layer, where several layers are given the same one.

    An instance of Keras without a seed draws the same values whenever it is called, so layers of one shape that share
    it would start with equal weights. Its clone draws others. An instance with a seed keeps it.

    Args:
        initializer: what the layers are given.
    """
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer


@keras.saving.register_keras_serializable(package="cnn_registry")
class NearIdentity(keras.initializers.Initializer):  # type: ignore[misc]  # Keras ships no type information
    """A kernel that passes its input on, plus a small random kernel (He et al. 2015).

    It is meant for deep ReLU networks without shortcuts and normalisation. At first, layers with as many outputs as
    inputs pass everything on, so the network learns as quickly as it would without them. After a ReLU an identity
    preserves every value, which Le et al. 2015 (https://arxiv.org/abs/1504.00941) use in recurrent layers. Zagoruyko &
    Komodakis 2017 (https://arxiv.org/abs/1706.00388) start deep plain convolutional networks in this way; they also
    keep the identity throughout training, which this initializer does not. Kernels with different numbers of inputs and
    outputs, and kernels of grouped convolutions, are those of `keras.initializers.HeNormal`.

    Recipes and plugins refer to it as ``"cnn_registry>NearIdentity"``, once `cnn_registry.blocks` is imported.

    Args:
        noise: factor of the random kernel where there is an identity, at least 0. With 0, the filters of a layer differ
            only in the channel that they pass on.
        seed: seed of the random kernel: an integer, which gives all layers of one shape the same kernel, or a
            `keras.random.SeedGenerator`. By default, each kernel is drawn with a seed of its own, which follows from
            `keras.utils.set_random_seed`.
    """

    def __init__(self, noise: float = 0.1, seed: int | keras.random.SeedGenerator | None = None) -> None:
        self.noise = noise
        self.seed = keras.saving.deserialize_keras_object(seed) if isinstance(seed, dict) else seed

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A kernel ``(*sizes, inputs, outputs)`` for a dense layer or a convolution with ``"same"`` padding."""
        random = keras.initializers.HeNormal(self.seed)(shape, dtype)  # which draws its seed when it is made
        *sizes, inputs, outputs = shape
        if inputs != outputs:
            return random
        middle = np.zeros((*sizes, 1, 1))
        middle[*((size - 1) // 2 for size in sizes), 0, 0] = 1
        return keras.ops.cast(middle, random.dtype) * keras.ops.eye(inputs, dtype=random.dtype) + self.noise * random

    def get_config(self) -> dict[str, Any]:
        """The arguments of the initializer, for saving."""
        return {"noise": self.noise, "seed": keras.saving.serialize_keras_object(self.seed)}
