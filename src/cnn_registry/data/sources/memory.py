"""Images in memory, or in a file that is mapped to it."""

from __future__ import annotations

from cnn_registry.data.dataset import Bytes, Indices


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
