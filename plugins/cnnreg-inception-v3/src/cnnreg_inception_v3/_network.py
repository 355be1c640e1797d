"""The layers of Inception-v3."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras

from cnn_registry.blocks import Conv2D_BN, ConvOptions

Layer = Callable[..., keras.KerasTensor]

CONV: ConvOptions = {
    "order": "bn_relu",
    "use_bias": False,
    "kernel_initializer": "he_normal",
    # With Keras' momentum of 0.99 the moving statistics lag behind in the few hundred steps of a small dataset.
    "momentum": 0.9,
    "epsilon": 1e-3,
    "beta_initializer": "ones",  # at 75 pixels the gradient's norm starts at 110; with zeros, at 1100
}


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    scale: bool,
    count_include_pad: bool,
    aux_heads: bool,
    dropout: float,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of Szegedy et al. (2015), table 1, as in the authors' code."""
    options: ConvOptions = {**CONV, "scale": scale}
    conv = partial(Conv2D_BN, **options)
    pool = partial(_average_pool, count_include_pad=count_include_pad)

    inputs = keras.Input(input_shape)
    x = conv(inputs, 32, 3, "valid", 2, name="conv1")
    x = conv(x, 32, 3, "valid", 1, name="conv2")
    x = conv(x, 64, 3, "same", 1, name="conv3")
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = conv(x, 80, 1, "valid", 1, name="conv4")
    x = conv(x, 192, 3, "valid", 1, name="conv5")
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool2")(x)

    for number, projection in enumerate((32, 64, 64), start=1):
        x = _inception_a(conv, pool, x, projection, f"inception_a{number}")
    x = _reduction_a(conv, x, "reduction_a")
    for number, inner in enumerate((128, 160, 160, 192), start=1):
        x = _inception_b(conv, pool, x, inner, f"inception_b{number}")
    before_last_reduction = x
    x = _reduction_b(conv, x, "reduction_b")
    for number in (1, 2):
        x = _inception_c(conv, pool, x, f"inception_c{number}")

    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="inception_v3")
    aux = _aux_head(conv, before_last_reduction, num_classes, classifier_activation, "aux")
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="inception_v3")


def _inception_a(conv: Layer, pool: Layer, x: keras.KerasTensor, projection: int, name: str) -> keras.KerasTensor:
    """Four branches: 1x1, 5x5, two of 3x3, pooling."""
    large = conv(x, 48, 1, "same", 1, name=f"{name}_5x5_reduce")
    double = conv(x, 64, 1, "same", 1, name=f"{name}_double3x3_reduce")
    double = conv(double, 96, 3, "same", 1, name=f"{name}_double3x3_1")
    branches = [
        conv(x, 64, 1, "same", 1, name=f"{name}_1x1"),
        conv(large, 64, 5, "same", 1, name=f"{name}_5x5"),
        conv(double, 96, 3, "same", 1, name=f"{name}_double3x3_2"),
        conv(pool(x, name=f"{name}_pool"), projection, 1, "same", 1, name=f"{name}_pool_proj"),
    ]
    return keras.layers.concatenate(branches, name=f"{name}_concat")


def _reduction_a(conv: Layer, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Figure 10: 3x3, two of 3x3 and a pooling, each with stride 2."""
    double = conv(x, 64, 1, "same", 1, name=f"{name}_double3x3_reduce")
    double = conv(double, 96, 3, "same", 1, name=f"{name}_double3x3_1")
    branches = [
        conv(x, 384, 3, "valid", 2, name=f"{name}_3x3"),
        conv(double, 96, 3, "valid", 2, name=f"{name}_double3x3_2"),
        keras.layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x),
    ]
    return keras.layers.concatenate(branches, name=f"{name}_concat")


def _inception_b(conv: Layer, pool: Layer, x: keras.KerasTensor, inner: int, name: str) -> keras.KerasTensor:
    """Four branches: 1x1, 7x7 as 1x7 and 7x1, the same twice, pooling."""
    single = conv(x, inner, 1, "same", 1, name=f"{name}_7x7_reduce")
    single = conv(single, inner, (1, 7), "same", 1, name=f"{name}_7x7_1")
    double = conv(x, inner, 1, "same", 1, name=f"{name}_double7x7_reduce")
    double = conv(double, inner, (7, 1), "same", 1, name=f"{name}_double7x7_1")
    double = conv(double, inner, (1, 7), "same", 1, name=f"{name}_double7x7_2")
    double = conv(double, inner, (7, 1), "same", 1, name=f"{name}_double7x7_3")
    branches = [
        conv(x, 192, 1, "same", 1, name=f"{name}_1x1"),
        conv(single, 192, (7, 1), "same", 1, name=f"{name}_7x7_2"),
        conv(double, 192, (1, 7), "same", 1, name=f"{name}_double7x7_4"),
        conv(pool(x, name=f"{name}_pool"), 192, 1, "same", 1, name=f"{name}_pool_proj"),
    ]
    return keras.layers.concatenate(branches, name=f"{name}_concat")


def _reduction_b(conv: Layer, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """3x3, 7x7 as 1x7 and 7x1 before 3x3, and a pooling, each with stride 2."""
    single = conv(x, 192, 1, "same", 1, name=f"{name}_3x3_reduce")
    long = conv(x, 192, 1, "same", 1, name=f"{name}_7x7x3_reduce")
    long = conv(long, 192, (1, 7), "same", 1, name=f"{name}_7x7x3_1")
    long = conv(long, 192, (7, 1), "same", 1, name=f"{name}_7x7x3_2")
    branches = [
        conv(single, 320, 3, "valid", 2, name=f"{name}_3x3"),
        conv(long, 192, 3, "valid", 2, name=f"{name}_7x7x3_3"),
        keras.layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x),
    ]
    return keras.layers.concatenate(branches, name=f"{name}_concat")


def _inception_c(conv: Layer, pool: Layer, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Four branches, two of which end in a 1x3 beside a 3x1."""
    single = conv(x, 384, 1, "same", 1, name=f"{name}_3x3_reduce")
    double = conv(x, 448, 1, "same", 1, name=f"{name}_double3x3_reduce")
    double = conv(double, 384, 3, "same", 1, name=f"{name}_double3x3")
    branches = [
        conv(x, 320, 1, "same", 1, name=f"{name}_1x1"),
        conv(single, 384, (1, 3), "same", 1, name=f"{name}_3x3_1x3"),
        conv(single, 384, (3, 1), "same", 1, name=f"{name}_3x3_3x1"),
        conv(double, 384, (1, 3), "same", 1, name=f"{name}_double3x3_1x3"),
        conv(double, 384, (3, 1), "same", 1, name=f"{name}_double3x3_3x1"),
        conv(pool(x, name=f"{name}_pool"), 192, 1, "same", 1, name=f"{name}_pool_proj"),
    ]
    return keras.layers.concatenate(branches, name=f"{name}_concat")


def _average_pool(x: keras.KerasTensor, *, count_include_pad: bool, name: str) -> keras.KerasTensor:
    """Average over 3x3 with stride 1; the size of the maps stays."""
    if count_include_pad:
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return keras.layers.AveragePooling2D(3, strides=1, padding="valid" if count_include_pad else "same", name=name)(x)


def _aux_head(
    conv: Layer, x: keras.KerasTensor, num_classes: int, classifier_activation: str | None, name: str
) -> keras.KerasTensor:
    """The side network; its output layer has the head's name."""
    height, width = (min(5, size) for size in x.shape[1:3])
    x = keras.layers.AveragePooling2D((height, width), strides=3, name=f"{name}_pool")(x)
    x = conv(x, 128, 1, "same", 1, name=f"{name}_conv1")
    x = conv(x, 768, 5, "valid" if min(x.shape[1:3]) >= 5 else "same", 1, name=f"{name}_conv2")
    x = keras.layers.GlobalAveragePooling2D(name=f"{name}_average")(x)
    return keras.layers.Dense(num_classes, activation=classifier_activation, name=name)(x)
