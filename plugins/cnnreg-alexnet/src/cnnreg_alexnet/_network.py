"""The layers of the four AlexNets."""

from __future__ import annotations

import keras

from cnn_registry.blocks import Initializer, LocalResponseNormalization, own_initializer

MOMENTUM = 0.9
"""Momentum of the moving statistics. With Keras' 0.99 they lag behind in the few hundred steps of a small dataset."""

EPSILON = 1e-5
"""Added to the variance, as in torchvision's networks with batch normalisation."""


def alexnet(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    batch_norm: bool = False,
    dropout: float,
    kernel_initializer: Initializer,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the two towers of Krizhevsky et al. (2012, figure 2) as one; ``batch_norm`` normalises its convolutions.

    Unlike in the paper, every convolution has ``"same"`` padding, the poolings are 2x2, the first one follows the
    second convolution, and there is no local response normalisation.
    """

    def conv(name: str, filters: int, kernel: int, stride: int = 1) -> list[keras.layers.Layer]:
        options = {"strides": stride, "padding": "same"}
        if not batch_norm:
            return [_conv(name, filters, kernel, kernel_initializer, **options)]
        return [
            _conv(name, filters, kernel, kernel_initializer, activation=None, **options),
            keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_bn"),
            keras.layers.Activation("relu", name=f"{name}_relu"),
        ]

    def pool(name: str) -> keras.layers.Layer:
        return keras.layers.MaxPooling2D(2, name=name)

    return keras.Sequential(
        [
            keras.Input(input_shape),
            *conv("conv1", 96, 11, stride=4),
            *conv("conv2", 256, 5),
            pool("pool2"),
            *conv("conv3", 384, 3),
            pool("pool3"),
            *conv("conv4", 384, 3),
            *conv("conv5", 256, 3),
            pool("pool5"),
            keras.layers.Flatten(name="flatten"),
            *_dropped_after(dropout, kernel_initializer),
            keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions"),
        ],
        name="alexnet_bn" if batch_norm else "alexnet",
    )


def alexnet_paper(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    groups: int,
    dropout: float,
    kernel_initializer: Initializer,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of Krizhevsky et al. (2012), section 3.5.

    Each tower is a group of the second, fourth and fifth convolution. The third one sees the maps of both towers, so it
    has no groups.
    """

    def conv(name: str, filters: int, kernel: int, groups: int = 1) -> keras.layers.Layer:
        return _conv(name, filters, kernel, kernel_initializer, padding="same", groups=groups)

    return keras.Sequential(
        [
            keras.Input(input_shape),
            _conv("conv1", 96, 11, kernel_initializer, strides=4),
            LocalResponseNormalization(name="norm1"),
            _overlapping_pool("pool1"),
            conv("conv2", 256, 5, groups),
            LocalResponseNormalization(name="norm2"),
            _overlapping_pool("pool2"),
            conv("conv3", 384, 3),
            conv("conv4", 384, 3, groups),
            conv("conv5", 256, 3, groups),
            _overlapping_pool("pool5"),
            keras.layers.Flatten(name="flatten"),
            *_dropped_after(dropout, kernel_initializer),
            keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions"),
        ],
        name="alexnet_paper",
    )


def alexnet_owt(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    conv4_filters: int,
    dropout: float,
    kernel_initializer: Initializer,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the tower of Krizhevsky (2014), section 5, with torchvision's paddings, average pooling and dropout."""

    def conv(name: str, filters: int, kernel: int) -> keras.layers.Layer:
        return _conv(name, filters, kernel, kernel_initializer, padding="same")

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.ZeroPadding2D(2, name="conv1_pad"),
            _conv("conv1", 64, 11, kernel_initializer, strides=4),
            _overlapping_pool("pool1"),
            conv("conv2", 192, 5),
            _overlapping_pool("pool2"),
            conv("conv3", 384, 3),
            conv("conv4", conv4_filters, 3),
            conv("conv5", 256, 3),
            _overlapping_pool("pool5"),
            keras.layers.AdaptiveAveragePooling2D(6, name="avg_pool"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dropout(dropout, name="fc6_dropout"),
            _dense("fc6", kernel_initializer),
            keras.layers.Dropout(dropout, name="fc7_dropout"),
            _dense("fc7", kernel_initializer),
            keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions"),
        ],
        name="alexnet_owt",
    )


def _conv(
    name: str, filters: int, kernel: int, kernel_initializer: Initializer, **options: object
) -> keras.layers.Layer:
    own = own_initializer(kernel_initializer)
    return keras.layers.Conv2D(filters, kernel, kernel_initializer=own, name=name, **{"activation": "relu", **options})


def _overlapping_pool(name: str) -> keras.layers.Layer:
    return keras.layers.MaxPooling2D(3, strides=2, name=name)


def _dropped_after(dropout: float, kernel_initializer: Initializer) -> list[keras.layers.Layer]:
    """The two hidden dense layers, with dropout after each."""
    return [
        _dense("fc6", kernel_initializer),
        keras.layers.Dropout(dropout, name="fc6_dropout"),
        _dense("fc7", kernel_initializer),
        keras.layers.Dropout(dropout, name="fc7_dropout"),
    ]


def _dense(name: str, kernel_initializer: Initializer) -> keras.layers.Layer:
    return keras.layers.Dense(
        4096, activation="relu", kernel_initializer=own_initializer(kernel_initializer), name=name
    )
