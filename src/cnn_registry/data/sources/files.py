"""Images that are decoded whenever they are read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from cnn_registry.data.dataset import Bytes, EncodedImage, Indices
from cnn_registry.data.form import Form
from cnn_registry.data.image import attempt, check_file, decode
from cnn_registry.data.records import PackedImage
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import BadImageError


class Seen(NamedTuple):
    """A file as it was when its content was hashed.

    Attributes:
        path: the file, or the packed image.
        state: when it was last written, and its size; ``None`` where there was no file.
        digest: the SHA-256 of its content; empty where it could not be read.
    """

    path: EncodedImage
    state: tuple[int, int] | None
    digest: bytes

    @property
    def has_changed(self) -> bool:
        """Whether it has another content now."""
        return _state(self.path) != self.state and file_hash(self.path) != self.digest


def see(file: EncodedImage) -> Seen:
    """A file with a hash of its content."""
    state = _state(file)
    return Seen(file, state, file_hash(file))


def file_hash(file: EncodedImage) -> bytes:
    """The SHA-256 of a file's content; empty where it cannot be read."""
    if isinstance(file, PackedImage):
        return file.digest
    try:
        check_file(file)
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except (OSError, BadImageError):
        return b""


def _state(file: EncodedImage) -> tuple[int, int] | None:
    if isinstance(file, PackedImage):
        return None  # its content is checked whenever it is read
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


class StreamedImages:
    """Images that are decoded each time they are read, for datasets larger than memory.

    Args:
        files: readable image files, or packed images.
        form: the form in which they are read.
        max_pixels: as for `decode_forms`.
    """

    def __init__(self, files: Sequence[Seen], form: Form, max_pixels: int | None = None) -> None:
        self._files = files
        self._max_pixels = max_pixels
        self.form = form

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``.

        Raises:
            BadImageError: a file can no longer be read, or has another content than at first.
        """
        images = list(in_threads(self._decoded, [self._files[index] for index in indices]))
        return np.stack(images) if images else np.empty((0, *self.form.shape), np.uint8)

    def _decoded(self, file: Seen) -> Bytes:
        image = decode(file.path, form=self.form, max_pixels=self._max_pixels)
        if file.has_changed:
            raise BadImageError(str(file.path), "its content has changed since it was first read")
        return image


def decode_each(
    files: Sequence[EncodedImage], forms: Collection[Form], *, max_pixels: int | None = None
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
