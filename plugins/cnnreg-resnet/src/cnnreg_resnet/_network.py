"""The layers of the ResNets.

Their names are stable: ``conv1``, ``pool1``, the units ``stage<s>_block<b>`` (both numbered from 1; the residual blocks
of `cnn_registry.blocks` name their layers), with pre-activation ``post_bn`` and ``post_relu``, then ``avg_pool`` and
``predictions``.
"""

from __future__ import annotations

from typing import get_args

import keras

from cnn_registry.blocks import BasicBlock, BottleneckBlock, Conv2D_BN, ConvOptions, PreactBottleneckBlock, StrideIn
from cnn_registry.errors import UsageError

from . import FILTERS, UNITS, StrideUnit

MOMENTUM = 0.9
"""Momentum of the moving statistics. With Keras' 0.99 they lag behind in the few hundred steps of a small dataset."""

EPSILON = 1e-5
"""Added to the variances of V1, as in torchvision; Keras also has `EPSILON_V2` there."""

EPSILON_V2 = 1.001e-5
"""Added to the variances of V2, as in ``keras.applications``."""


def resnet(
    depth: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    stride_in: StrideIn | None,
    use_bias: bool,
    zero_init_residual: bool,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Build a network of He et al. (2015), table 1: of bottlenecks, or of basic units if ``stride_in`` is ``None``."""
    conv: ConvOptions = {
        "order": "bn_relu",
        "use_bias": use_bias,
        "kernel_initializer": "he_normal",
        "momentum": MOMENTUM,
        "epsilon": EPSILON,
    }

    def unit(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        if stride_in is None:
            return BasicBlock(x, filters, stride, zero_init=zero_init_residual, name=name, **conv)
        return BottleneckBlock(x, filters, stride, stride_in=stride_in, zero_init=zero_init_residual, name=name, **conv)

    inputs = keras.Input(input_shape)
    x = Conv2D_BN(inputs, 64, 7, 3, 2, name="conv1", **conv)
    x = _pool(x)
    for stage, (units, filters) in enumerate(zip(UNITS[depth], FILTERS, strict=True), start=1):
        for block in range(1, units + 1):
            stride = 2 if block == 1 and stage > 1 else 1
            x = unit(x, filters, stride, f"stage{stage}_block{block}")
    return _classifier(inputs, x, num_classes, classifier_activation, name)


def resnet_v2(
    depth: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    stride_unit: StrideUnit,
    zero_init_residual: bool,
    classifier_activation: str | None,
    name: str,
) -> keras.Model:
    """Build a network of He et al. (2016), figure 4e, in the form of Keras' networks."""
    if stride_unit not in get_args(StrideUnit):
        raise UsageError(f"stride_unit must be 'last' or 'first'; got {stride_unit!r}.")

    inputs = keras.Input(input_shape)
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = keras.layers.Conv2D(64, 7, strides=2, kernel_initializer="he_normal", name="conv1")(x)
    x = _pool(x)
    for stage, (units, filters) in enumerate(zip(UNITS[depth], FILTERS, strict=True), start=1):
        for block in range(1, units + 1):
            first, last = stage > 1 and block == 1, stage < len(FILTERS) and block == units
            halves = first if stride_unit == "first" else last
            x = PreactBottleneckBlock(
                x,
                filters,
                2 if halves else 1,
                zero_init=zero_init_residual,
                momentum=MOMENTUM,
                epsilon=EPSILON_V2,
                name=f"stage{stage}_block{block}",
            )
    x = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON_V2, name="post_bn")(x)
    x = keras.layers.Activation("relu", name="post_relu")(x)
    return _classifier(inputs, x, num_classes, classifier_activation, name)


def _pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """Max pooling with a border of zeros.

    After a ReLU the zeros never change a maximum. V2 has no ReLU here, so they do, as in ``keras.applications``.
    """
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)


def _classifier(
    inputs: keras.KerasTensor, x: keras.KerasTensor, num_classes: int, activation: str | None, name: str
) -> keras.Model:
    # At 224 pixels this is the average over 7x7; unlike a pooling of that size, it accepts any other input.
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    outputs = keras.layers.Dense(num_classes, activation=activation, name="predictions")(x)
    return keras.Model(inputs, outputs, name=name)
