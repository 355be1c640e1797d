"""The three networks as in a script without this library: layer by layer, compiled with Adam.

Nothing is imported from the library, because its blocks configure TensorFlow. BN-Inception ends in a global average
pooling, which accepts any size, and at 224 pixels equals an average over 7x7.
"""

from __future__ import annotations

from typing import Any

import keras

from .common import CLASSES, RATES, Widths


def compiled(name: str, size: int, optimizer: Any = None) -> keras.Model:
    """Compile a network for square images; by default with Adam at the network's learning rate."""
    network = {"alexnet": alexnet, "vgg16": vgg16, "inception_v2": inception_v2}[name](size)
    optimizer = optimizer or keras.optimizers.Adam(RATES[name])
    network.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def alexnet(size: int) -> keras.Model:
    """Build AlexNet with one tower and 2x2 poolings."""
    model = keras.Sequential([keras.Input((size, size, 3))])
    model.add(keras.layers.Conv2D(96, 11, strides=4, padding="same", activation="relu"))
    for filters, kernel, pooled in ((256, 5, True), (384, 3, True), (384, 3, False), (256, 3, True)):
        model.add(keras.layers.Conv2D(filters, kernel, padding="same", activation="relu"))
        if pooled:
            model.add(keras.layers.MaxPooling2D(2))
    return _classified(model)


def vgg16(size: int) -> keras.Model:
    """Build thirteen 3x3 convolutions in five stages, and three dense layers."""
    model = keras.Sequential([keras.Input((size, size, 3))])
    for filters, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            model.add(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(keras.layers.MaxPooling2D(2))
    return _classified(model)


def _classified(model: keras.Sequential) -> keras.Model:
    model.add(keras.layers.Flatten())
    for _ in range(2):
        model.add(keras.layers.Dense(4096, activation="relu"))
        model.add(keras.layers.Dropout(0.5))
    model.add(keras.layers.Dense(CLASSES, activation="softmax"))
    return model


def inception_v2(size: int) -> keras.Model:
    """Build BN-Inception with each activation before the normalisation."""
    inputs = keras.Input((size, size, 3))
    x = _conv(inputs, 64, 7, 2)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = _conv(_conv(x, 64, 1), 192, 3)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = _block(x, 64, (64, 64), (64, 96), 32)
    x = _block(x, 64, (64, 96), (64, 96), 64)
    x = _reduction(x, (128, 160), (64, 96))
    x = _block(x, 224, (64, 96), (96, 128), 128)
    x = _block(x, 192, (96, 128), (96, 128), 128)
    x = _block(x, 160, (128, 160), (128, 160), 128)
    x = _block(x, 96, (128, 192), (160, 192), 128)
    x = _reduction(x, (128, 192), (192, 256))
    x = _block(x, 352, (192, 320), (160, 224), 128)
    x = _block(x, 352, (192, 320), (192, 224), 128, keras.layers.MaxPooling2D)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))


def _block(x: Any, single: int, three: Widths, double: Widths, pooled: int, pooling: Any = None) -> Any:
    pooling = pooling or keras.layers.AveragePooling2D
    return keras.layers.concatenate(
        [
            _conv(x, single, 1),
            _conv(_conv(x, three[0], 1), three[1], 3),
            _conv(_conv(_conv(x, double[0], 1), double[1], 3), double[1], 3),
            _conv(pooling(3, strides=1, padding="same")(x), pooled, 1),
        ]
    )


def _reduction(x: Any, three: Widths, double: Widths) -> Any:
    return keras.layers.concatenate(
        [
            _conv(_conv(x, three[0], 1), three[1], 3, 2),
            _conv(_conv(_conv(x, double[0], 1), double[1], 3), double[1], 3, 2),
            keras.layers.MaxPooling2D(3, strides=2, padding="same")(x),
        ]
    )


def _conv(x: Any, filters: int, kernel: int, stride: int = 1) -> Any:
    x = keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", activation="relu")(x)
    return keras.layers.BatchNormalization()(x)
