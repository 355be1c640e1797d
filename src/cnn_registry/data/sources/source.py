"""Where the pipeline reads decoded images from: memory, or the files themselves."""

from __future__ import annotations

from typing import Protocol

from cnn_registry.data.dataset import Bytes, Indices


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
