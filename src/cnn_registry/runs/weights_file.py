"""Weights to a file of the run."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.backend.keras_internals import without_optimizer
from cnn_registry.errors import RunError
from cnn_registry.networks.weights.keras_file import stamp
from cnn_registry.system.files import whole_file

if TYPE_CHECKING:
    import keras


def save_weights(model: keras.Model, path: Path, class_names: Sequence[str]) -> None:
    """Write the model's weights, whole or not at all, with the names of the classes in the order of the outputs."""
    with without_optimizer(model), whole_file(path) as temporary:
        model.save_weights(temporary, overwrite=True)
        stamp(temporary, class_names)


def share_if_equal(first: Path, second: Path) -> bool:
    """Whether two weights files are the same, byte for byte; stored once then, where the file system has hard links."""
    if not (first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False)):
        return False
    with suppress(OSError, RunError), whole_file(second) as temporary:
        os.link(first, temporary)
    return True
