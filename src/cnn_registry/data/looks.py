"""What images look like: pictures of one colour, and pictures that look the same in different files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnn_registry.errors import BadImageError
from cnn_registry.system.extras import need

from .dataset import Bytes, EncodedImage
from .fitting import as_image
from .image import decode_image
from .threads import in_threads

EDGE = 64
"""Edge length in pixels of what is compared."""

ONE_COLOUR = 2.0
"""Standard deviation of the values, from 0 to 255, below which a picture has one colour."""

NEAR = 4
"""Bits of 64 by which the perceptual hashes of two pictures that look the same may differ."""

PACKAGES = {"imagehash": "ImageHash"}


class Look(NamedTuple):
    """What one picture looks like.

    Attributes:
        hash: its perceptual hash, 64 bits: the signs of the low frequencies of its grey values.
        blank: whether it has one colour.
        width, height: of the upright picture, in pixels.
    """

    hash: int
    blank: bool
    width: int
    height: int


def looks(images: Sequence[EncodedImage] | Bytes, max_pixels: int | None = None) -> Iterator[Look | BadImageError]:
    """Look at images, in threads; an error stands in the place of one that cannot be read.

    Args:
        images: files or packed images, or the images themselves.
        max_pixels: as for `cnn_registry.train`.

    Raises:
        MissingPackageError: ImageHash is not installed.
    """
    need("Looking for near duplicates", "imagehash", extra="data", distributions=PACKAGES)
    import imagehash

    def look(image: EncodedImage | Bytes) -> Look | BadImageError:
        try:
            if isinstance(image, np.ndarray):
                picture = as_image(image).convert("RGB")
            else:
                picture = decode_image(image, max_pixels=max_pixels)
        except BadImageError as error:
            return error
        small = picture.resize((EDGE, EDGE), Image.Resampling.BOX)
        bits = imagehash.phash(small).hash.reshape(-1)
        blank = float(np.asarray(small).std(axis=(0, 1)).max()) < ONE_COLOUR
        return Look(int.from_bytes(np.packbits(bits).tobytes(), "big"), blank, *picture.size)

    return in_threads(look, images)


def look_alikes(hashes: NDArray[np.uint64]) -> list[list[int]]:
    """Groups of positions whose hashes differ by at most `NEAR` bits, or are connected by others that do.

    Of `NEAR` + 1 parts of two such hashes, one is the same, so only hashes with a part in common are compared.
    """
    unique, inverse = np.unique(hashes, return_inverse=True)
    parent = np.arange(len(unique))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    for part in np.array_split(np.arange(64, dtype=np.uint64), NEAR + 1):
        mask = np.bitwise_or.reduce(np.uint64(1) << part)
        for bucket in _buckets(unique & mask):
            for place, number in enumerate(bucket[:-1]):
                others = bucket[place + 1 :]
                for other in others[np.bitwise_count(unique[others] ^ unique[number]) <= NEAR]:
                    parent[root(int(other))] = root(int(number))
    groups: dict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(inverse):
        groups[root(int(number))].append(position)
    return [members for members in groups.values() if len(members) > 1]


def _buckets(keys: NDArray[np.uint64]) -> Iterable[NDArray[np.int64]]:
    """The positions that have the same key, two or more of each."""
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[order])) + 1
    return (bucket for bucket in np.split(order, ends) if len(bucket) > 1)
