"""How a callback ends a training before its last epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry import backend

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class Diverged(Exception):  # noqa: N818  (what happened; the loop makes an error of it)
    """The loss or a weight is no longer finite."""


class Stopped(Exception):  # noqa: N818  (no error)
    """The training was asked to stop, and everything that it needs to go on is written."""
