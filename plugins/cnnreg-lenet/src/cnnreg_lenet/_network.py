"""The layers of LeNet-5 in both variants, named as in the paper."""

from __future__ import annotations

from typing import Any

import keras

from cnn_registry.blocks import Initializer, own_initializer

from ._layers import NegativeSquaredDistance, PartialConv2D, Subsampling, scaled_tanh


def lenet5(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    kernel_initializer: Initializer,
    classifier_activation: str | None,
) -> keras.Model:
    """Build LeNet-5 from Keras' own layers."""

    def options() -> dict[str, Any]:
        return {"activation": "tanh", "kernel_initializer": own_initializer(kernel_initializer)}

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(6, 5, name="c1", **options()),
            keras.layers.AveragePooling2D(2, name="s2"),
            keras.layers.Conv2D(16, 5, name="c3", **options()),
            keras.layers.AveragePooling2D(2, name="s4"),
            keras.layers.Conv2D(120, 5, name="c5", **options()),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(84, name="f6", **options()),
            keras.layers.Dense(
                num_classes,
                activation=classifier_activation,
                kernel_initializer=own_initializer(kernel_initializer),
                name="predictions",
            ),
        ],
        name="lenet5",
    )


def lenet5_paper(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    kernel_initializer: Initializer,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of LeCun et al. (1998), section II.B, where all units up to F6 squash their sums."""

    def options() -> dict[str, Any]:
        return {"activation": scaled_tanh, "kernel_initializer": own_initializer(kernel_initializer)}

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(6, 5, name="c1", **options()),
            Subsampling(activation=scaled_tanh, name="s2"),
            PartialConv2D(C3_INPUTS, 5, name="c3", **options()),
            Subsampling(activation=scaled_tanh, name="s4"),
            keras.layers.Conv2D(120, 5, name="c5", **options()),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(84, name="f6", **options()),
            NegativeSquaredDistance(num_classes, activation=classifier_activation, name="predictions"),
        ],
        name="lenet5",
    )


C3_INPUTS = (
    *((first, (first + 1) % 6, (first + 2) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 2) % 6, (first + 3) % 6) for first in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
"""Table I: for each of C3's 16 maps, the maps of S2 that it sees."""
