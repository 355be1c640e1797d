"""A user's own steps of the augmentation: ``module:object``, or ``module:object,key=value``.

A step is called with images and a seed and returns images. It is a function ``(images, seed)``, to which the keyword
arguments are passed on; or a class that is made with them, whose objects are called so. It is traced into the graph of
the pipeline, so it computes with TensorFlow, and is stateless: the same images and seed give the same result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.errors import UsageError
from cnn_registry.system.objects import Reference, called, named_object
from cnn_registry.text import one_line

if TYPE_CHECKING:
    from tensorflow import Tensor

AugmentationStep = Callable[["Tensor", "Tensor"], "Tensor"]
"""From float32 ``(B, H, W, C)``, 0 to 255, and a seed, int32 ``(2,)``, to images of the same shape."""

SAMPLE = 2
"""Images that a step is tried with."""


def build_steps(listed: Sequence[str]) -> list[AugmentationStep]:
    """The steps that a recipe lists.

    Raises:
        UsageError: there is no such object, or it cannot be made or called.
    """
    return [_built(text) for text in listed]


def _built(text: str) -> AugmentationStep:
    reference = Reference.parse(text)
    found = named_object(reference.name, "the augmentation step")
    if isinstance(found, type):
        found = called(found, "The augmentation step", **reference.options)
    elif reference.options:
        found = partial(found, **reference.options) if callable(found) else found
    if not callable(found):
        raise UsageError(
            f"An augmentation step is called with images and a seed; {reference.name} is {type(found).__name__}, "
            f"which cannot be called."
        )
    return found  # type: ignore[no-any-return]  # somebody's own


def configurations(listed: Sequence[str]) -> dict[str, Any]:
    """What the steps with a method ``get_config`` say of themselves, by how the recipe lists them.

    Raises:
        UsageError: as `build_steps`; or it cannot be written as JSON.
    """
    found = {}
    for text, step in zip(listed, build_steps(listed), strict=True):
        if hasattr(step, "get_config"):
            try:
                found[text] = json.loads(json.dumps(step.get_config()))
            except Exception as error:  # anything that it may raise
                raise UsageError(
                    f"The configuration of the augmentation step {text} cannot be recorded: {one_line(error)}."
                ) from error
    return found


def check_steps(listed: Sequence[str], shape: tuple[int, int, int]) -> None:
    """Refuse steps that fail, return something else than images of the same shape, or give other results each time.

    Args:
        listed: how the recipe lists them.
        shape: ``(height, width, channels)`` of an image.

    Raises:
        UsageError: there is one.
    """
    if not listed:
        return
    import numpy as np  # a recipe is read without it

    tf = backend.tensorflow()
    sample = tf.constant(np.random.default_rng(0).uniform(0, 255, (SAMPLE, *shape)), tf.float32)
    seed = tf.constant([1, 2])
    for text, step in zip(listed, build_steps(listed), strict=True):
        try:
            specs = tf.TensorSpec((None, *shape), tf.float32), tf.TensorSpec((2,), tf.int32)
            function = tf.function(lambda images, seed, step=step: step(images, seed), autograph=False)
            graph = function.get_concrete_function(*specs)
            first, again = graph(sample, seed), graph(sample, seed)
        except Exception as error:  # anything that somebody's code may raise
            raise UsageError(f"The augmentation step {text} failed on a sample: {one_line(error)}.") from error
        came = getattr(first, "shape", None), getattr(first, "dtype", None)
        if came != ((SAMPLE, *shape), tf.float32):
            raise UsageError(
                f"The augmentation step {text} must return float32 {(SAMPLE, *shape)}, as it takes; got "
                f"{getattr(came[1], 'name', type(first).__name__)} {tuple(came[0] or ())}."
            )
        if not np.isfinite(first).all():
            raise UsageError(f"The augmentation step {text} gives values that are not finite.")
        if not np.array_equal(first, again):
            raise UsageError(
                f"The augmentation step {text} is not stateless: the same images and seed gave two results. Draw from "
                f"the seed, as tf.random.stateless_uniform does."
            )
