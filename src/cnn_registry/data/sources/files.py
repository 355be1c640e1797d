"""Images that are decoded whenever they are read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.image import decode
from cnn_registry.data.threads import in_threads


class StreamedImages:
    """Images that are decoded each time they are read, for sets larger than memory.

    Args:
        files: readable image files.
        size: edge length in pixels.
    """

    def __init__(self, files: Sequence[Path], size: int) -> None:
        self._files = files
        self.size = size

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, size, size, 3)``.

        Raises:
            BadImageError: a file cannot be read any more.
        """
        files = [self._files[index] for index in indices]
        images = list(in_threads(partial(decode, size=self.size), files))
        return np.stack(images) if images else np.empty((0, self.size, self.size, 3), np.uint8)
