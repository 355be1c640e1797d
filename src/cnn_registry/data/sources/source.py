"""Where the pipeline reads decoded images from: memory, or the files themselves."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.form import Form

from .files import UnreadableImagesError


class ImageSource(Protocol):
    """Decoded images of one form, by their position."""

    @property
    def form(self) -> Form:
        """The form of the images."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``."""
        ...


class SelectedImages:
    """Some of the images of another source.

    Args:
        source: all images.
        kept: positions in ``source``; those of this source are 0, 1, 2, ...
    """

    def __init__(self, source: ImageSource, kept: Indices) -> None:
        self._source = source
        self._kept = kept

    @property
    def form(self) -> Form:
        """The form of the images."""
        return self._source.form

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``.

        Raises:
            UnreadableImagesError, BadImageError: as the other source.
        """
        kept = self._kept[np.asarray(indices)]
        try:
            return self._source.read(kept)
        except UnreadableImagesError as error:
            own = dict(zip(kept.tolist(), np.asarray(indices).tolist(), strict=True))
            raise UnreadableImagesError(
                error.file, {own[position]: reason for position, reason in error.reasons.items()}
            ) from error
