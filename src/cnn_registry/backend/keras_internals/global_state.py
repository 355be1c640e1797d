"""What Keras keeps for each thread."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .. import environment


def global_state() -> Any:
    """What Keras keeps for each thread."""
    environment.keras()  # with TensorFlow prepared, if nobody has imported it
    return import_module("keras.src.backend.common.global_state")
