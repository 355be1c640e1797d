"""Images in memory, or in a file that is mapped to it."""

from __future__ import annotations

import numpy as np

from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.fitting import as_image, pixels
from cnn_registry.data.form import Form


class ArrayImages:
    """Images in memory, or in a file that is mapped to it.

    Args:
        images: ``(N, height, width, channels)``.
        form: their form; default that of their shape.
    """

    def __init__(self, images: Bytes, form: Form | None = None) -> None:
        self._images = images
        self.form = form or Form(images.shape[1], images.shape[2], images.shape[3])

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``."""
        return self._images[indices]


class ResizedImages:
    """Images in memory that are resized each time they are read, where all of them would be larger than memory.

    Args:
        images: ``(N, height, width, channels)``, as they are.
        form: the form in which they are read.
    """

    def __init__(self, images: Bytes, form: Form) -> None:
        self._images = images
        self.form = form

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``."""
        found = np.empty((len(indices), *self.form.shape), np.uint8)
        for position, index in enumerate(indices):
            found[position] = pixels(as_image(self._images[index]), self.form)
        return found
