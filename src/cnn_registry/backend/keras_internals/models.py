"""Whole models: their layers, input sizes and optimizer, and what several replicas need of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cnn_registry.errors import BackendError

from .. import environment

if TYPE_CHECKING:
    import keras

MODEL_NEEDS = ("_compute_loss", "_loss_tracker", "_aggregate_additional_loss", "_flatten_layers")
"""What `share_steps` calls or replaces of a model. Without one, replicas would train something else, in silence."""

MIRRORED_NEEDS = {"model": ("_maybe_symbolic_build",), "optimizer": ("_all_reduce_sum_gradients",)}
"""What it replaces besides, of a model and of its optimizer, where one process has several devices."""


def require_shareable_steps(model: keras.Model, *, mirrored: bool) -> None:
    """Refuse to train with several replicas where Keras lacks what that is built on.

    Args:
        model: compiled.
        mirrored: whether the replicas are devices of one process.

    Raises:
        BackendError: Keras lacks something.
    """
    needed = [(model, name) for name in MODEL_NEEDS]
    if mirrored:
        needed += [(model, name) for name in MIRRORED_NEEDS["model"]]
        needed += [(model.optimizer, name) for name in MIRRORED_NEEDS["optimizer"]]
    for owner, name in needed:
        if not hasattr(owner, name):
            raise BackendError(
                f"Keras {environment.keras().__version__} has no {name!r}, on which training with several devices or "
                f"processes is built. Use --distribute none, or Keras 3.15."
            )


def all_layers(model: keras.Model) -> list[Any]:
    """The layers of a model, and those in its layers."""
    return list(model._flatten_layers(include_self=False))


def take_any_size(model: keras.Model) -> bool:
    """Have a model with a graph take images of other sizes than it was built for; false where that is not possible.

    Its layers do. Keras would compare them with the size of its input.
    """
    try:
        model.input_spec = None
    except AttributeError:
        return False
    return model.input_spec is None


@contextmanager
def without_optimizer(model: keras.Model) -> Iterator[None]:
    """Within the block a model has no optimizer, whose state Keras would save and load with its weights.

    Where Keras does not allow it, the file is larger and no less right.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        yield
        return
    try:
        model.optimizer = None
    except AttributeError:
        yield
        return
    try:
        yield
    finally:
        model.optimizer = optimizer
