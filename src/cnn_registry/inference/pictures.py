"""What can be predicted: pictures in files and in memory, one or many."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cnn_registry.data.dataset import Bytes
from cnn_registry.data.fitting import as_image, in_channels, pixels
from cnn_registry.data.folder import find_images
from cnn_registry.data.form import MODES, Form
from cnn_registry.data.image import converted, decode_image
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import BadImageError, DownloadError, UsageError
from cnn_registry.system.download import fetch

BATCH_SIZE = 32
"""Pictures that go through a network together."""

MOST_VALUES = 2**27
"""Values in the pictures of a batch: half a gigabyte as float32. 32 RGB pictures of 1,182x1,182 pixels have as many."""

MAX_DOWNLOAD = 2**26
"""The largest file in bytes that is fetched from an address."""

EXPECTED = "a path, a Pillow image, a uint8 array (H, W, C) or (N, H, W, C), or an iterable of these"


class Picture(NamedTuple):
    """One picture that has not been decoded yet.

    Attributes:
        name: the file, or its address; ``None`` for a picture in memory.
        content: a file, its http address, its bytes, an image of Pillow's, or an array ``(height, width,
            channels)`` with 1, 3 or 4 channels.
    """

    name: Path | str | None
    content: Path | str | bytes | Image.Image | Bytes

    def pixels(self, form: int | Form, max_pixels: int | None = None) -> Bytes:
        """The picture in a form, ``(height, width, channels)``; an integer stands for RGB squares.

        Raises:
            BadImageError: it cannot be read.
        """
        wanted = Form.of(form)
        return pixels(self.whole(max_pixels, alpha=wanted.channels == 4), wanted)

    def whole(self, max_pixels: int | None = None, *, alpha: bool = False) -> Image.Image:
        """The picture at its own size, upright, as RGB, or as RGBA.

        Raises:
            BadImageError: it cannot be read.
        """
        content = self.content
        if isinstance(content, np.ndarray):
            return in_channels(as_image(content), 4 if alpha else 3)
        if isinstance(content, Image.Image):
            return converted(content, alpha=alpha, max_pixels=max_pixels)
        if isinstance(content, str):
            try:
                content = fetch(content, limit=MAX_DOWNLOAD)
            except DownloadError as error:
                raise BadImageError(str(self.name), str(error)) from error
        if isinstance(content, bytes):
            stream = io.BytesIO(content)
            stream.name = str(self.name)
            return decode_image(stream, alpha=alpha, max_pixels=max_pixels)
        return decode_image(content, alpha=alpha, max_pixels=max_pixels)


class GivenPictures(NamedTuple):
    """What a user gave to be predicted.

    Attributes:
        pictures: each picture, in order; they are taken one by one from what may have no end.
        kind: ``"one"`` picture, ``"many"`` that are all there, or a ``"stream"``.
    """

    pictures: Iterator[Picture]
    kind: str


def given(images: Any) -> GivenPictures:
    """Read what a user gave.

    Args:
        images: see `EXPECTED`; a path may be that of a folder, whose pictures are taken at any depth.

    Raises:
        UsageError: it is something else, holds nothing, or an array does not have the form of pictures.
        DataError: a folder holds no pictures.
    """
    if isinstance(images, str | os.PathLike):
        path = Path(images)
        return GivenPictures(_of_path(path), "many" if os.path.isdir(path) else "one")  # noqa: PTH112 - for long names
    if isinstance(images, Image.Image):
        return GivenPictures(iter([Picture(None, images)]), "one")
    if hasattr(images, "__array__"):
        array = _checked(np.asarray(images))
        return GivenPictures(_of_array(array), "one" if array.ndim < 4 else "many")
    if isinstance(images, Iterator):
        return GivenPictures(_refusing_none(_of_each(images)), "stream")
    if isinstance(images, Iterable) and not isinstance(images, bytes | bytearray | memoryview | Mapping):
        every = list(images)
        if not every:
            raise UsageError(f"There are no pictures: expected {EXPECTED}; got an empty {type(images).__name__}.")
        return GivenPictures(chain.from_iterable([_of_item(item) for item in every]), "many")
    raise UsageError(f"Pictures are given as {EXPECTED}; got {type(images).__name__}.")


class Decoded(NamedTuple):
    """A batch of pictures.

    Attributes:
        pictures: up to `BATCH_SIZE` of them.
        images: their pixels ``(height, width, channels)``, or why they cannot be read.
    """

    pictures: list[Picture]
    images: list[Bytes | BadImageError]

    @property
    def readable(self) -> Bytes | None:
        """The pixels of those that can be read, ``(N, height, width, channels)``; ``None`` where there are none."""
        found = [image for image in self.images if not isinstance(image, BadImageError)]
        return np.stack(found) if found else None

    @property
    def first_error(self) -> BadImageError | None:
        """Why the first of those cannot be read that cannot."""
        return next((image for image in self.images if isinstance(image, BadImageError)), None)


def pictures_at_a_time(form: Form) -> int:
    """How many pictures are in a batch: `BATCH_SIZE`, or fewer where these would have more than `MOST_VALUES`."""
    return max(1, min(BATCH_SIZE, MOST_VALUES // form.values))


def decoded_batches(pictures: Iterable[Picture], form: int | Form, max_pixels: int | None = None) -> Iterator[Decoded]:
    """Decode pictures in threads, a few ahead of whoever takes the batches, however many there are.

    Args:
        pictures: in memory or in files.
        form: the form in which they are wanted; an integer stands for RGB squares.
        max_pixels: as for `cnn_registry.data.image.decode_forms`.
    """

    def attempt(picture: Picture) -> tuple[Picture, Bytes | BadImageError]:
        try:
            return picture, picture.pixels(form, max_pixels)
        except BadImageError as error:
            return picture, error

    results, at_a_time = in_threads(attempt, pictures), pictures_at_a_time(Form.of(form))
    while chunk := list(islice(results, at_a_time)):
        yield Decoded([picture for picture, _ in chunk], [image for _, image in chunk])


def _of_path(path: Path) -> Iterator[Picture]:
    is_folder = os.path.isdir(path)  # noqa: PTH112 - unlike Path's, false for a name that is too long
    return (Picture(file, file) for file in (find_images(path) if is_folder else [path]))


def _of_each(items: Iterable[Any]) -> Iterator[Picture]:
    for item in items:
        yield from _of_item(item)


def _of_item(item: Any) -> Iterator[Picture]:
    """The pictures of one item of an iterable."""
    if isinstance(item, str | os.PathLike):
        return _of_path(Path(item))
    if isinstance(item, Image.Image):
        return iter([Picture(None, item)])
    if hasattr(item, "__array__"):
        return _of_array(_checked(np.asarray(item)))
    raise UsageError(f"Pictures are given as {EXPECTED}; got an item of type {type(item).__name__}.")


def _of_array(array: Bytes) -> Iterator[Picture]:
    return (Picture(None, image) for image in (array[None] if array.ndim < 4 else array))


def _refusing_none(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """``pictures``, of which there must be one."""
    first = next(pictures, None)
    if first is None:
        raise UsageError(f"There are no pictures: expected {EXPECTED}; got an iterator without items.")
    yield first
    yield from pictures


def _checked(array: np.ndarray) -> Bytes:
    """``array``, if it has the form of one or more pictures.

    Raises:
        UsageError: it has not.
    """
    shape = tuple(array.shape)
    if array.dtype != np.uint8:
        helps = " Scale it to 0 to 255 and use astype('uint8')." if array.dtype.kind == "f" else ""
        raise UsageError(f"An array of pictures has values from 0 to 255 in uint8; got {array.dtype}.{helps}")
    if 0 in shape or not (array.ndim == 2 or (array.ndim in (3, 4) and shape[-1] in MODES)):
        helps = " Give grey pictures an axis: grey[..., None]." if array.ndim == 3 and array.size else ""
        raise UsageError(
            f"An array of pictures has the shape (H, W, C) or (N, H, W, C), where C is 1 for grey, 3 for RGB or 4 for "
            f"RGBA, or (H, W) for a grey one; got {shape}.{helps}"
        )
    return array
