"""Weights to and from a file of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.system.files import check_own, whole_file

if TYPE_CHECKING:
    import keras


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the model's weights, whole or not at all."""
    with _without_optimizer(model), whole_file(path) as temporary:
        model.save_weights(temporary, overwrite=True)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read what `save_weights` wrote for a model of the same form.

    Raises:
        RunError: ``path`` is a link, a pipe or a device.
    """
    check_own(path)
    with _without_optimizer(model):
        model.load_weights(path)


@contextmanager
def _without_optimizer(model: keras.Model) -> Iterator[None]:
    """Keras counts a compiled model's optimizer state, as large again or more, among its weights."""
    optimizer, model.optimizer = getattr(model, "optimizer", None), None
    try:
        yield
    finally:
        model.optimizer = optimizer
