"""A small network that has everything that sees more than one image; it is registered where this is imported."""

from __future__ import annotations

from typing import Any

import cnn_registry


@cnn_registry.register_model(
    family="parts",
    summary="Everything that sees more than one image",
    trainable_params=1_580,
    input_shape=(32, 32, 3),
    paper=cnn_registry.Paper(title="None", authors="None", year=2020, url="https://example.org"),
    aux_heads={"aux": 0.3},
    features={"stride4": cnn_registry.Feature("c2", (8, 8, 8))},
)
def parts(input_shape: tuple[int, int, int], num_classes: int, *, aux_heads: bool = False) -> Any:
    """Build the network; its auxiliary head is only for training."""
    import keras

    layers = keras.layers
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(8, 5, strides=2, padding="same", use_bias=False, name="c1")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="c2", kernel_regularizer="l2")(x)
    aux = layers.Dense(num_classes, activation="softmax", name="aux")(layers.GlobalAveragePooling2D()(x))
    x = layers.Dropout(0.3)(layers.GlobalMaxPooling2D()(layers.BatchNormalization()(x)))
    main = layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, {"predictions": main, "aux": aux} if aux_heads else main, name="parts")
