"""Images in memory, or in a file that is mapped to it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.image import resized


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


class ResizedImages:
    """Images in memory that are resized each time they are read, where all of them would be larger than memory.

    Args:
        images: ``(N, height, width, 3)``.
        size: edge length in pixels.
    """

    def __init__(self, images: Bytes, size: int) -> None:
        self._images = images
        self.size = size

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, size, size, 3)``."""
        pixels = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for position, index in enumerate(indices):
            pixels[position] = resized(Image.fromarray(self._images[index]), self.size)
        return pixels
