"""The files of a dataset, and images that are decoded from them whenever they are read."""

from __future__ import annotations

import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from cnn_registry.data.dataset import Bytes, EncodedImage, Indices
from cnn_registry.data.form import Form
from cnn_registry.data.image import decode_forms
from cnn_registry.data.paths import PathsBelow
from cnn_registry.data.records import PackedImage
from cnn_registry.data.threads import in_threads, together
from cnn_registry.errors import BadImageError
from cnn_registry.system.progress import progress
from cnn_registry.text import counted

from .content import ABSENT, TICK, FileContent, is_settled, opened_file, state_at

MANY = 20_000
"""Files that take so long to hash that a line says so."""

_UNKNOWN, _KNOWN, _NONE = range(3)
"""What is known of a file's content: nothing, its digest, or that it has none because it cannot be read."""


class ChangedImageError(BadImageError):
    """An image has another content than at first, or can no longer be read."""


class UnreadableImagesError(BadImageError):
    """Images cannot be decoded, now or another time.

    Attributes:
        file: the first of them.
        reasons: why, by their positions.
    """

    def __init__(self, file: str, reasons: Mapping[int, str]) -> None:
        super().__init__(file, next(iter(reasons.values())))
        self.file, self.reasons = file, reasons


class Files:
    """The encoded images of a dataset, and what is known of the content of each.

    Args:
        images: files or packed images.

    Attributes:
        images: the same.
        states: what the system says of the files, ``(N, 4)``; see `FileState`.
        digests: SHA-256 digests, ``(N, 32)``, of those whose content is known.
    """

    def __init__(self, images: Sequence[EncodedImage]) -> None:
        count = len(images)
        self.images = images
        self.states = np.zeros((count, len(ABSENT)), np.int64)
        self.digests = np.zeros((count, 32), np.uint8)
        self._status = np.zeros(count, np.uint8)
        self._read = np.zeros(count, bool)  # and settled then, so that its state shows any change since
        self.looked = 0
        for position, image in enumerate(images) if not isinstance(images, PathsBelow) else ():
            if isinstance(image, PackedImage):
                self._know(position, image.digest)

    def __len__(self) -> int:
        return len(self.images)

    def paths(self) -> Iterable[str]:
        """The paths of the files; of packed images, what they are called in messages."""
        return self.images.texts() if isinstance(self.images, PathsBelow) else map(str, self.images)

    def look(self) -> None:
        """Ask the system for the state of each file."""
        self.looked = time.time_ns()
        values = array("q")
        for path in self.paths() if not self.known.all() else ():
            values.extend(state_at(path))
        if values:
            self.states = np.frombuffer(values, np.int64).reshape(self.states.shape).copy()

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether the content of each file is known."""
        return np.asarray(self._status == _KNOWN)

    def expect(self, positions: Indices, digests: Bytes) -> Indices:
        """Take over what is known of files from elsewhere.

        Args:
            positions: of the files.
            digests: theirs, ``(len(positions), 32)``.

        Returns:
            Those of the positions whose file is known to have another content.
        """
        differ = (self._status[positions] == _KNOWN) & (self.digests[positions] != digests).any(1)
        new = self._status[positions] == _UNKNOWN
        self.digests[positions[new]] = digests[new]
        self._status[positions[new]] = _KNOWN
        return np.asarray(positions[differ])

    def hash_unknown(self) -> None:
        """Read all files whose content is not known."""
        unknown = np.flatnonzero(self._status == _UNKNOWN)
        shown = progress(f"Reading {counted(len(unknown), 'file')}", len(unknown)) if len(unknown) > MANY else None
        with shown or nullcontext(lambda amount: None) as advance:
            for position, digest in zip(unknown.tolist(), in_threads(self._hashed, unknown.tolist()), strict=True):
                if digest:
                    self._know(position, digest)
                else:
                    self._status[position] = _NONE
                advance(1)

    def settled(self) -> Indices:
        """The positions of files whose content is known, and will be by their state alone another time."""
        latest = self.states[:, 1:3].max(1, initial=0)
        return np.flatnonzero(self.known & (latest > 0) & (latest < self.looked - TICK))

    def decode(self, position: int, forms: Collection[Form], max_pixels: int | None = None) -> list[Bytes]:
        """The pixels of an image in some forms, of the content that is known of it, or is from now on.

        Raises:
            ChangedImageError: the file has another content, or can no longer be read.
            BadImageError: it cannot be decoded.
        """
        image = self.images[position]
        if isinstance(image, PackedImage):
            return self._decode_packed(position, image, forms, max_pixels)
        with self._opened(position, image) as content:
            return decode_forms(content.stream, forms, max_pixels=max_pixels)

    def attempt(
        self, position: int, *, forms: Collection[Form], max_pixels: int | None = None
    ) -> list[Bytes] | BadImageError:
        """`decode`, which returns its error: for many files, of which some may be bad."""
        try:
            return self.decode(position, forms, max_pixels)
        except BadImageError as error:
            return error

    def select(self, kept: Indices) -> Files:
        """Some of the files."""
        images = self.images
        some = Files(images.select(kept.tolist()) if isinstance(images, PathsBelow) else [images[i] for i in kept])
        some.looked = self.looked
        some.states, some.digests = self.states[kept], self.digests[kept]
        some._status, some._read = self._status[kept], self._read[kept]
        return some

    def _know(self, position: int, digest: bytes) -> None:
        self.digests[position] = np.frombuffer(digest, np.uint8)
        self._status[position] = _KNOWN

    def _hashed(self, position: int) -> bytes:
        """The digest of a file, whose state is that before it was read."""
        try:
            image = self.images[position]
            if isinstance(image, PackedImage):
                return image.digest
            with opened_file(image) as content:
                self.states[position] = content.state
                return content.digest()
        except (OSError, BadImageError):
            return b""

    def _decode_packed(
        self, position: int, image: PackedImage, forms: Collection[Form], max_pixels: int | None
    ) -> list[Bytes]:
        """The pixels of an image whose content is checked whenever it is read."""
        try:
            pixels = decode_forms(image, forms, max_pixels=max_pixels)
        except BadImageError as error:
            if self._read[position]:
                raise ChangedImageError(str(image), error.reason) from error
            raise
        self._read[position] = True
        return pixels

    @contextmanager
    def _opened(self, position: int, file: Path) -> Iterator[FileContent]:
        """The content of a file, which is the one that is known of it."""
        with ExitStack() as stack:
            try:
                content = stack.enter_context(opened_file(file))
                self._check(position, content)
            except ChangedImageError:
                raise
            except (BadImageError, OSError) as error:
                raise self._unopened(position, error) from error
            yield content

    def _check(self, position: int, content: FileContent) -> None:
        """Compare a file with what is known of it, by its state if that shows any change."""
        if self._read[position] and tuple(self.states[position].tolist()) == content.state:
            return
        now, digest = time.time_ns(), content.digest()
        if self._status[position] != _UNKNOWN and digest != self.digest(position):
            raise ChangedImageError(str(self.images[position]), "its content has changed since it was first read")
        self._know(position, digest)
        self.states[position] = content.state
        self._read[position] = is_settled(content.state, now)

    def digest(self, position: int) -> bytes:
        """The digest of a file; empty where it is not known, or cannot be read."""
        return self.digests[position].tobytes() if self._status[position] == _KNOWN else b""

    def _unopened(self, position: int, error: BadImageError | OSError) -> BadImageError:
        """Why a file cannot be opened: it has changed if it could be before."""
        reason = error.reason if isinstance(error, BadImageError) else (error.strerror or str(error)).lower()
        found = bool(self.states[position].any()) and not isinstance(error, PermissionError)
        could = self._status[position] == _KNOWN or (self._status[position] == _UNKNOWN and found)
        return (ChangedImageError if could else BadImageError)(str(self.images[position]), reason)


class Hashes(Sequence[bytes]):
    """The digests of files by their positions, as far as they are known by now; empty where they are not."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, position: int) -> bytes: ...

    @overload
    def __getitem__(self, position: slice) -> list[bytes]: ...

    def __getitem__(self, position: int | slice) -> bytes | list[bytes]:
        if isinstance(position, slice):
            return [self._files.digest(place) for place in range(len(self))[position]]
        return self._files.digest(position)


class StreamedImages:
    """Images that are decoded each time they are read, for datasets larger than memory.

    Args:
        files: image files, or packed images.
        form: the form in which they are read.
        max_pixels: as for `decode_forms`.
    """

    def __init__(self, files: Files, form: Form, max_pixels: int | None = None) -> None:
        self._files = files
        self._max_pixels = max_pixels
        self.form = form

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Indices) -> Bytes:
        """The images at ``indices``, ``(B, height, width, channels)``.

        Raises:
            UnreadableImagesError: some cannot be decoded.
            BadImageError: a file can no longer be read, or has another content than at first.
        """
        places = [int(index) for index in indices]
        found = together(partial(self._files.attempt, forms=(self.form,), max_pixels=self._max_pixels), places)
        failed = {place: one for place, one in zip(places, found, strict=True) if isinstance(one, BadImageError)}
        for error in failed.values():
            if isinstance(error, ChangedImageError) or isinstance(error.__cause__, MemoryError):
                raise error
        if failed:
            first = str(self._files.images[next(iter(failed))])
            raise UnreadableImagesError(first, {place: error.reason for place, error in failed.items()})
        pixels = [one[0] for one in found if not isinstance(one, BadImageError)]
        return np.stack(pixels) if pixels else np.empty((0, *self.form.shape), np.uint8)
