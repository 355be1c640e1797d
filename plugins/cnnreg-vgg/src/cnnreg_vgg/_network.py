"""The layers of the VGGs."""

from __future__ import annotations

import keras

from cnn_registry.blocks import Conv2D_BN

from . import CONVOLUTIONS, FILTERS

MOMENTUM = 0.9
"""Of the moving statistics. Keras' 0.99 leaves them far behind in the few hundred steps of a small data set."""

EPSILON = 1e-5
"""Added to the variance, as in torchvision. The paper has no batch normalisation."""


def vgg(
    depth: int,
    batch_norm: bool,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float,
    kernel_initializer: str,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Simonyan & Zisserman (2014), table 1; with ``batch_norm``, each convolution is normalised before its ReLU.

    A convolution has the same name and the same weights with and without batch normalisation.
    """

    def conv(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        if batch_norm:
            return Conv2D_BN(
                x,
                filters,
                3,
                "same",
                1,
                order="bn_relu",
                kernel_initializer=kernel_initializer,
                momentum=MOMENTUM,
                epsilon=EPSILON,
                beta_initializer="ones",  # at zero the gradient's norm starts at 400 with 19 layers, so at 190
                name=name,
            )
        return keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer=kernel_initializer, name=name
        )(x)

    x = inputs = keras.Input(input_shape)
    for block, (filters, convolutions) in enumerate(zip(FILTERS, CONVOLUTIONS[depth], strict=True), start=1):
        for number in range(1, convolutions + 1):
            x = conv(x, filters, f"block{block}_conv{number}")
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for layer in ("fc6", "fc7"):
        x = keras.layers.Dense(4096, activation="relu", kernel_initializer=kernel_initializer, name=layer)(x)
        x = keras.layers.Dropout(dropout, name=f"{layer}_dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    return keras.Model(inputs, outputs, name=name)
