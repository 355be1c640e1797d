"""Gradients and training steps of a network under examination. Importing this module imports Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.networks.heads import add_aux_losses

from .subject import SEED, Floats, Subject

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class KeepGradients(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras ships no type information
    """Replaces each weight with its gradient, which yields gradients on every backend."""

    def __init__(self) -> None:
        super().__init__(learning_rate=1.0)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Keep one gradient."""
        self.assign(variable, gradient)


@dataclass(frozen=True)
class Gradients:
    """Gradients of the training loss.

    Attributes:
        at_start: for each trainable weight by its path, at initialization; ``None`` where it has none.
        moved: the same, after the weights that are all zero at the start have been moved.
    """

    at_start: dict[str, Floats | None]
    moved: dict[str, Floats | None]


def trainable(subject: Subject, optimizer: Any, *, run_eagerly: bool, seed: int = SEED) -> keras.Model:
    """The network with its auxiliary heads, compiled as for training; tracing pays off from about ten steps."""
    heads = subject.spec.aux_heads
    model = subject.build({"aux_heads": True} if heads else {}, seed)
    loss = keras.losses.CategoricalCrossentropy()
    if heads:
        add_aux_losses(model, heads, loss)
    return _compiled(model, optimizer, loss, run_eagerly=run_eagerly)


def _compiled(model: keras.Model, optimizer: Any, loss: Any, *, run_eagerly: bool) -> keras.Model:
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[keras.metrics.CategoricalCrossentropy(name="main")],
        run_eagerly=run_eagerly,
        jit_compile=False,
    )
    return model


def gradients(subject: Subject) -> Gradients:
    """The gradients of one training step on the subject's images, and of another one if some were zero."""
    model = trainable(subject, KeepGradients(), run_eagerly=True)
    start = model.get_weights()
    at_start = _one_step(subject, model)
    if all(gradient is not None and gradient.any() for gradient in at_start.values()):
        return Gradients(at_start, at_start)
    # A scale that starts at zero, as at the end of many residual branches, lets no gradient through at first.
    model.set_weights(start)
    random = np.random.default_rng(SEED)
    for weight in model.trainable_weights:
        if not np.asarray(weight).any():
            weight.assign(random.normal(0, 0.1, weight.shape))
    return Gradients(at_start, _one_step(subject, model))


class Shift(keras.layers.Layer):  # type: ignore[misc]
    """Adds a weight to each value of a batch of fixed shape."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the weight, all zeros."""
        self.shift = self.add_weight(shape=input_shape, initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """The shifted batch."""
        return inputs + self.shift


def depends_on_images(subject: Subject) -> bool:
    """Whether the training loss has a gradient with respect to the subject's images."""
    inputs, shift = keras.Input(batch_shape=subject.images.shape), Shift()
    outputs = subject.build()(shift(inputs))
    loss = keras.losses.CategoricalCrossentropy()
    model = _compiled(keras.Model(inputs, outputs), KeepGradients(), loss, run_eagerly=True)
    model.train_on_batch(subject.images, subject.labels)
    return bool(np.asarray(shift.shift).any())


def _one_step(subject: Subject, model: keras.Model) -> dict[str, Floats | None]:
    weights = model.trainable_weights
    before = [np.array(weight) for weight in weights]
    model.train_on_batch(subject.images, subject.labels)
    after = [np.array(weight) for weight in weights]
    # Keras skips weights that the loss does not depend on; they keep their values.
    return {
        weight.path: None if np.array_equal(old, new) and old.any() else new
        for weight, old, new in zip(weights, before, after, strict=True)
    }
