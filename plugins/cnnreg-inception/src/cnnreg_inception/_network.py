"""The layers of BN-Inception."""

from __future__ import annotations

import keras

from cnn_registry.blocks import Conv2D_BN, ConvOptions, InceptionBlock_1, InceptionBlock_2, InceptionBlock_3
from cnn_registry.errors import UsageError, suggestion

VARIANTS: dict[str, ConvOptions] = {
    # With Keras' momentum of 0.99 the moving statistics lag behind in the few hundred steps of a small dataset.
    "paper": {"order": "bn_relu", "use_bias": False, "kernel_initializer": "he_normal", "momentum": 0.9},
    "article": {},  # the defaults of the blocks
}
"""The options of the convolutions, by variant."""


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    variant: str,
    dropout: float,
    classifier_activation: str | None,
) -> keras.Model:
    """Build the network of Ioffe & Szegedy (2015), figure 5, without their depth-separable first convolution."""
    if variant not in VARIANTS:
        raise UsageError(f"variant must be 'paper' or 'article'; got {variant!r}.{suggestion(str(variant), VARIANTS)}")
    conv = VARIANTS[variant]

    inputs = keras.Input(input_shape)
    x = Conv2D_BN(inputs, 64, 7, "same", 2, name="conv1", **conv)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)
    x = Conv2D_BN(x, 64, 1, "same", 1, name="conv2_reduce", **conv)
    x = Conv2D_BN(x, 192, 3, "same", 1, name="conv2", **conv)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool2")(x)

    x = InceptionBlock_1(x, [(64,), (64, 64), (64, 96), (32,)], name="inception_3a", **conv)
    x = InceptionBlock_1(x, [(64,), (64, 96), (64, 96), (64,)], name="inception_3b", **conv)
    x = InceptionBlock_2(x, [(128, 160), (64, 96)], name="inception_3c", **conv)

    x = InceptionBlock_1(x, [(224,), (64, 96), (96, 128), (128,)], name="inception_4a", **conv)
    x = InceptionBlock_1(x, [(192,), (96, 128), (96, 128), (128,)], name="inception_4b", **conv)
    x = InceptionBlock_1(x, [(160,), (128, 160), (128, 160), (128,)], name="inception_4c", **conv)
    x = InceptionBlock_1(x, [(96,), (128, 192), (160, 192), (128,)], name="inception_4d", **conv)
    x = InceptionBlock_2(x, [(128, 192), (192, 256)], name="inception_4e", **conv)

    x = InceptionBlock_1(x, [(352,), (192, 320), (160, 224), (128,)], name="inception_5a", **conv)
    x = InceptionBlock_3(x, [(352,), (192, 320), (192, 224), (128,)], name="inception_5b", **conv)

    # At 224 pixels this is the average over 7x7; unlike a pooling of that size, it accepts any other input.
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    return keras.Model(inputs, outputs, name="inception_v2")
