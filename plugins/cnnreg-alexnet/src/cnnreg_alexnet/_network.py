"""The layers of AlexNet."""

from __future__ import annotations

import keras


def build(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dropout: float,
    kernel_initializer: str,
    classifier_activation: str | None,
) -> keras.Model:
    """The two towers of Krizhevsky et al. (2012, figure 2) as one.

    Unlike there, every convolution pads to ``"same"``, the poolings are 2x2, the first one comes after the second
    convolution, and there is no local response normalisation.
    """

    def conv(name: str, filters: int, kernel: int, stride: int = 1) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            filters, kernel, stride, "same", activation="relu", kernel_initializer=kernel_initializer, name=name
        )

    def pool(name: str) -> keras.layers.Layer:
        return keras.layers.MaxPooling2D(2, name=name)

    def dense(name: str) -> keras.layers.Layer:
        return keras.layers.Dense(4096, activation="relu", kernel_initializer=kernel_initializer, name=name)

    return keras.Sequential(
        [
            keras.Input(input_shape),
            conv("conv1", 96, 11, stride=4),
            conv("conv2", 256, 5),
            pool("pool2"),
            conv("conv3", 384, 3),
            pool("pool3"),
            conv("conv4", 384, 3),
            conv("conv5", 256, 3),
            pool("pool5"),
            keras.layers.Flatten(name="flatten"),
            dense("fc6"),
            keras.layers.Dropout(dropout, name="fc6_dropout"),
            dense("fc7"),
            keras.layers.Dropout(dropout, name="fc7_dropout"),
            keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions"),
        ],
        name="alexnet",
    )
