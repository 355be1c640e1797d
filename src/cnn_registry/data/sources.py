"""Where the pipeline reads decoded images from: memory, or the files themselves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from .dataset import Bytes, Indices
from .image import decode
from .threads import in_threads


class ImageSource(Protocol):
    """Decoded images of one size, by their position."""

    @property
    def size(self) -> int:
        """Edge length in pixels."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, size, size, 3)``."""
        ...


class ArrayImages:
    """Images in memory, or in a file that is mapped to it.

    Args:
        images: ``(N, size, size, 3)``.
    """

    def __init__(self, images: Bytes) -> None:
        self._images = images

    @property
    def size(self) -> int:
        """Edge length in pixels."""
        return int(self._images.shape[1])

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, size, size, 3)``."""
        return self._images[indices]


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
