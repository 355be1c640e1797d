"""Checks of how a network learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnn_registry import backend

from .outcome import failed
from .outputs import finite_outputs, not_finite, require_connection, require_probabilities
from .subject import SMALL_CLASSES, Subject

if TYPE_CHECKING:
    from .gradients import Gradients

LARGEST_GRADIENT = 10_000.0
"""The largest norm of all gradients together at initialization, on `Subject.images`.

Networks of ``keras.applications`` that train at the usual rates have up to 2,300 (EfficientNetB4) and 1,600
(InceptionV3) there.
"""

STEPS = 100
EAGER_STEPS = 3
"""Steps before they are traced. Many networks have learned by then, and tracing takes as long as ten steps."""

ATTEMPTS = ((0, 1e-3), (1, 1e-3), (2, 3e-4), (3, 3e-4))
"""Seeds and learning rates, tried until one learns. With a ReLU after the classifier, as in SqueezeNet, about one in
three initializations leaves some classes dead."""


def check_gradients(subject: Subject) -> None:
    """Every trainable weight gets a gradient that is finite and not zero."""
    require_connection(subject)
    for path, gradient in finite_gradients(subject).moved.items():
        if gradient is None or not gradient.any():
            raise failed(
                "a gradient for every trainable weight",
                f"{'none' if gradient is None else 'only zeros'} for {path}",
                "Use the weight in the network, make it trainable=False, or find what separates it from the loss.",
            )


def finite_gradients(subject: Subject) -> Gradients:
    """The gradients; only the first check that finds a NaN or an infinity there fails."""
    from .gradients import gradients

    finite_outputs(subject)
    found = subject.once(gradients)
    for path, gradient in found.at_start.items():
        if gradient is not None and (failure := not_finite(gradient, f"gradients of {path}")):
            raise subject.causes.meet("its gradients are not finite", failure)
    return found


def check_gradient_norm(subject: Subject) -> None:
    """The norm of all gradients together at initialization is below 10,000."""
    found = finite_gradients(subject).at_start.values()
    norm = float(
        np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for gradient in found if gradient is not None))
    )
    if not norm < LARGEST_GRADIENT:
        raise failed(
            f"a gradient norm below {LARGEST_GRADIENT:,.0f} at initialization",
            f"{norm:.4g}",
            "Initialize by fan-in (He or Glorot), normalize before the activation, or scale down residual branches; "
            "if depth alone is the reason, initialize the shifts of the normalizations with ones.",
        )


def check_learns(subject: Subject) -> None:
    """The loss on one batch falls by half within 100 steps of Adam."""
    require_probabilities(subject)
    require_connection(subject)
    finite_gradients(subject)
    best: list[float] = []
    for seed, rate in ATTEMPTS:
        losses = _losses_until_half(subject, seed, rate)
        if losses[-1] <= _half(losses):
            return
        best = min(best, losses, key=lambda found: min(found, default=np.inf))
    raise failed(
        f"a loss of at most {_half(best):.3f} on one batch within {STEPS} steps of Adam",
        f"{best[0]:.3f} at first, {min(best):.3f} at best in {len(ATTEMPTS)} attempts",
        "Look at initialization and normalization, and for strong dropout or activations that saturate.",
    )


def _losses_until_half(subject: Subject, seed: int, rate: float) -> list[float]:
    """The loss before each step; the last one is the first that is small enough, if one is.

    It is measured in training, as the optimizer sees it: moving statistics lag behind in so few steps.
    """
    from .gradients import trainable

    keras = backend.keras()
    model = trainable(subject, keras.optimizers.Adam(rate, global_clipnorm=1.0), run_eagerly=True, seed=seed)
    losses: list[float] = []
    for step in range(STEPS):
        if step == EAGER_STEPS:
            model.run_eagerly = False
            model.make_train_function(force=True)
        model.reset_metrics()
        losses.append(float(model.train_on_batch(subject.images, subject.labels, return_dict=True)["main"]))
        if losses[-1] <= _half(losses):
            break
    backend.forget([*model.variables, *model.optimizer.variables])
    return losses


def _half(losses: Sequence[float]) -> float:
    """Half of the first loss, or of chance if that is less: merely becoming less confidently wrong is not learning."""
    return float(min(losses[0], np.log(SMALL_CLASSES)) / 2)
