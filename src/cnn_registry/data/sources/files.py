"""Images that are decoded whenever they are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.form import Form
from cnn_registry.data.image import attempt, decode
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import BadImageError


class StreamedImages:
    """Images that are decoded each time they are read, for datasets larger than memory.

    Args:
        files: readable image files.
        form: the form in which they are read.
        max_pixels: as for `decode_forms`.
    """

    def __init__(self, files: Sequence[Path], form: Form, max_pixels: int | None = None) -> None:
        self._files = files
        self._max_pixels = max_pixels
        self.form = form

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``.

        Raises:
            BadImageError: a file can no longer be read.
        """
        files = [self._files[index] for index in indices]
        images = list(in_threads(partial(decode, form=self.form, max_pixels=self._max_pixels), files))
        return np.stack(images) if images else np.empty((0, *self.form.shape), np.uint8)


def decode_each(
    files: Sequence[Path], forms: Collection[Form], *, max_pixels: int | None = None
) -> Iterator[list[Bytes] | BadImageError]:
    """Decode files in threads, and return the error of a bad one in its place.

    Args:
        files: the files.
        forms: the forms in which they are wanted.
        max_pixels: as for `decode_forms`.

    Returns:
        For each file, in order, its pixels in each form, ``(height, width, channels)``, or why it cannot be read.
    """
    return in_threads(partial(attempt, forms=forms, max_pixels=max_pixels), files)
