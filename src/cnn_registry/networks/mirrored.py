"""Test-time augmentation: the mean of the probabilities for several views of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import backend

if TYPE_CHECKING:
    import keras


def with_mirrored(model: keras.Model, input_shape: tuple[int, int, int]) -> keras.Model:
    """The mean of the probabilities that ``model`` gives an image and its mirror image, left to right.

    As in Krizhevsky et al. (2012, section 4.1) and Simonyan & Zisserman (2014, section 3.2). It takes twice the time.

    Args:
        model: any model from ``(batch, height, width, channels)`` to ``(batch, num_classes)``.
        input_shape: ``(height, width, channels)``.

    Returns:
        A model of the same form, with the same weights.
    """
    keras = backend.keras()
    images = keras.Input(input_shape)
    mirrored = keras.ops.flip(images, axis=2)
    return keras.Model(images, (model(images) + model(mirrored)) / 2, name=f"{model.name}_mirrored")
