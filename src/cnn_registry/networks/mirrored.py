"""Several looks at the same picture, whose probabilities are averaged: test-time augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import backend

if TYPE_CHECKING:
    import keras


def with_mirrored(model: keras.Model) -> keras.Model:
    """The mean of what ``model`` says of a picture and of its mirror image, left to right.

    Krizhevsky et al. (2012, section 4.1) and Simonyan & Zisserman (2014, section 3.2) average so. It takes twice the
    time.

    Args:
        model: from ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Returns:
        A model of the same form, with the same weights.
    """
    keras = backend.keras()
    images = keras.Input(model.input_shape[1:])
    mirrored = keras.ops.flip(images, axis=2)
    return keras.Model(images, (model(images) + model(mirrored)) / 2, name=f"{model.name}_mirrored")
