"""The layers of the VGGs."""

from __future__ import annotations

import keras

from cnn_registry.blocks import Conv2D_BN, Initializer, own_initializer

from . import CONVOLUTIONS, FILTERS

MOMENTUM = 0.9
"""Momentum of the moving statistics. With Keras' 0.99 they lag behind in the few hundred steps of a small dataset."""

EPSILON = 1e-5
"""Added to the variance, as in torchvision. The paper has no batch normalisation."""


def vgg(
    depth: int,
    batch_norm: bool,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float,
    kernel_initializer: Initializer,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Build a network of Simonyan & Zisserman (2014), table 1; ``batch_norm`` adds normalisations before the ReLUs.

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
                beta_initializer="ones",  # with 19 layers the gradient's norm starts at 190; with zeros, at 400
                name=name,
            )
        own = own_initializer(kernel_initializer)
        return keras.layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=own, name=name)(x)

    x = inputs = keras.Input(input_shape)
    for block, (filters, convolutions) in enumerate(zip(FILTERS, CONVOLUTIONS[depth], strict=True), start=1):
        for number in range(1, convolutions + 1):
            x = conv(x, filters, f"block{block}_conv{number}")
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for layer in ("fc6", "fc7"):
        own = own_initializer(kernel_initializer)
        x = keras.layers.Dense(4096, activation="relu", kernel_initializer=own, name=layer)(x)
        x = keras.layers.Dropout(dropout, name=f"{layer}_dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    return keras.Model(inputs, outputs, name=name)
