"""Checks of how a network learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn_registry import backend

from .outcome import failed
from .outputs import refuse_not_finite
from .subject import SMALL_CLASSES, Subject

if TYPE_CHECKING:
    import keras

LARGEST_GRADIENT = 300.0
"""Bound of the norm of all gradients together at initialisation, on `Subject.images`.

There ResNets and Inceptions that train at the usual rates have 6 to 130; BN-Inception in the variant that activates
before it normalises, and needs rates below 1e-4, has 1000.
"""

STEPS = 100
LEARNING_RATE = 1e-3


def check_gradients(subject: Subject) -> None:
    """Every trainable weight gets a gradient that is finite and not zero."""
    from .gradients import gradients

    found = subject.once(gradients)
    for path, gradient in found.moved.items():
        if gradient is None or not gradient.any():
            raise failed(
                "a gradient for every trainable weight",
                f"{'none' if gradient is None else 'only zeros'} for {path}",
                "Use the weight in the network, make it trainable=False, or look for what cuts it off from the loss.",
            )
    for path, gradient in found.at_start.items():
        if gradient is not None:
            refuse_not_finite(gradient, f"gradients of {path}")


def check_gradient_norm(subject: Subject) -> None:
    """The norm of all gradients together at initialisation is below 300."""
    from .gradients import gradients

    found = subject.once(gradients).at_start.values()
    norm = float(
        np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for gradient in found if gradient is not None))
    )
    if not norm < LARGEST_GRADIENT:
        raise failed(
            f"a gradient norm below {LARGEST_GRADIENT:g} at initialisation",
            f"{norm:.4g}",
            "Initialise by fan-in (He or Glorot), normalise before the activation, or scale down residual branches; "
            "where depth alone is the reason, let the shifts of the normalisations start at one.",
        )


def check_learns(subject: Subject) -> None:
    """The loss on one batch falls by half within 100 steps of Adam."""
    from .gradients import trainable

    keras = backend.keras()
    # Measured in training, as the optimizer sees it: moving statistics lag behind in so few steps.
    model = trainable(subject, keras.optimizers.Adam(LEARNING_RATE, global_clipnorm=1.0), run_eagerly=False)
    losses = _losses_until_half(model, subject)
    backend.forget([*model.variables, *model.optimizer.variables])
    if not losses[-1] <= _half(losses):
        raise failed(
            f"a loss of at most {_half(losses):.3f} on one batch within {STEPS} steps of Adam at {LEARNING_RATE:g}",
            f"{losses[0]:.3f} at first, {min(losses):.3f} at best, {losses[-1]:.3f} at last",
            "Look at initialisation and normalisation, and for strong dropout or activations that saturate.",
        )


def _losses_until_half(model: keras.Model, subject: Subject) -> list[float]:
    """The loss before each step; the last one is the first that is small enough, if one is."""
    losses: list[float] = []
    for _ in range(STEPS):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(subject.images, subject.labels, return_dict=True)["main"]))
        if losses[-1] <= _half(losses):
            break
    return losses


def _half(losses: Sequence[float]) -> float:
    """Half of the first loss, or of chance: only to stop being wrong with confidence is not to learn."""
    return float(min(losses[0], np.log(SMALL_CLASSES)) / 2)
