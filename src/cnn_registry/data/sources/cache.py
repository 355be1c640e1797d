"""Decode and resize images once, keep the pixels on disk, and map them at the next start.

An entry of the cache is named after the content of the files, the size, and the decoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from cnn_registry.backend import memory_limit as usable_memory
from cnn_registry.data.dataset import Bytes, ImageDataset
from cnn_registry.data.image import check_file, decoder, lasts, resized
from cnn_registry.data.threads import in_flight, in_threads
from cnn_registry.errors import BadImageError, CnnRegistryError, DataError
from cnn_registry.system.paths import decoded_dir
from cnn_registry.system.progress import note, progress
from cnn_registry.text import counted

from .entry import Content, read_entry, write_entry
from .files import StreamedImages, decode_each
from .memory import ArrayImages, ResizedImages
from .source import ImageSource

OnBadImage = Literal["skip", "error"]

FORMAT = 2
"""Grows when the same files would give other pixels or another layout of the cache."""


@dataclass(frozen=True)
class BadImage:
    """An image that cannot be read, by its id, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class LoadedImages:
    """A dataset whose images can be read.

    Attributes:
        dataset: the dataset without the images that were left out.
        source: its decoded images; position i is image i of ``dataset``.
        bad: the images that were left out.
        digest: a digest of the content of all images and of their labels.
        hashes: a SHA-256 of the content of each image of ``dataset``; empty where it is not known.
        failures: what made reading images fail, see `cnn_registry.data.pipeline.batches.reading`.
    """

    dataset: ImageDataset
    source: ImageSource
    bad: tuple[BadImage, ...]
    digest: str
    hashes: tuple[bytes, ...] = ()
    failures: list[CnnRegistryError] = field(default_factory=list, repr=False, compare=False)


def load_images(
    dataset: ImageDataset,
    size: int,
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
) -> LoadedImages:
    """`load_sizes` at one size."""
    loaded = load_sizes(dataset, (size,), on_bad_image=on_bad_image, memory_limit=memory_limit, max_pixels=max_pixels)
    return loaded[size]


def load_sizes(
    dataset: ImageDataset,
    sizes: Collection[int],
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
    keep: bool = True,
) -> dict[int, LoadedImages]:
    """Make the images of a dataset readable at some sizes. Each file is read and decoded once for all of them.

    Args:
        dataset: what a loader returned.
        sizes: edge lengths in pixels.
        on_bad_image: ``"skip"`` leaves unreadable images out, with a note; ``"error"`` raises.
        memory_limit: bytes of pixels that are held in memory; more are decoded whenever they are read. Default half of
            the memory that this process may use.
        max_pixels: the largest image that is decoded, width times height; default Pillow's limit.
        keep: whether decoded images are written to the cache.

    Raises:
        DataError: an image is unreadable and ``on_bad_image`` is ``"error"``, a class has no readable image, or a few
            images of one of the sizes are larger than the memory.
    """
    sizes, hashes = set(sizes), _hashes(dataset)
    limit = usable_memory() // 2 if memory_limit is None else memory_limit
    needed = sum(size * size * 3 for size in sizes)
    _check_room(sizes, needed)
    in_memory = len(dataset) * needed <= limit
    if isinstance(dataset.images, np.ndarray):
        digest = _digest(dataset, hashes)
        sources = {size: _array_source(dataset.images, size, in_memory) for size in sizes}
        return {size: LoadedImages(dataset, sources[size], (), digest, tuple(hashes)) for size in sizes}
    keys = {size: _key(hashes, size, max_pixels) for size in sizes}
    pixels, reasons = _cached(dataset.images, keys, in_memory, max_pixels, keep=keep)
    bad = tuple(BadImage(dataset.ids[index], reason) for index, reason in reasons.items())
    readable = np.ones(len(dataset), bool)
    readable[list(reasons)] = False
    if bad:
        _report(bad, len(dataset), on_bad_image)
        dataset, hashes = dataset.select(readable), [hashes[index] for index in np.flatnonzero(readable)]
    _check_classes(dataset)
    files, digest = dataset.images, _digest(dataset, hashes)
    assert isinstance(files, tuple)

    def source(size: int) -> ImageSource:
        own = pixels[size]
        return StreamedImages(files, size, max_pixels) if own is None else ArrayImages(own)

    return {size: LoadedImages(dataset, source(size), bad, digest, tuple(hashes)) for size in sizes}


def _check_room(sizes: Collection[int], needed: int) -> None:
    """Refuse sizes of which the images that are in work at one time would fill the memory."""
    available, taken, edge = usable_memory(), in_flight() * needed, max(sizes, default=0)
    if taken > available:
        raise DataError(
            f"Images of {edge}x{edge} pixels are too large: {in_flight()} are decoded at a time and take "
            f"{taken / 1e9:,.1f} GB; this process may use {available / 1e9:,.1f} GB. Choose a smaller image_size."
        )


def _array_source(images: Bytes, size: int, in_memory: bool) -> ImageSource:
    if not in_memory:
        return ResizedImages(images, size)
    return ArrayImages(np.stack([resized(Image.fromarray(image), size) for image in images]))


def _hashes(dataset: ImageDataset) -> list[bytes]:
    """A hash of the content of each image; empty for a file that cannot be read."""
    if isinstance(dataset.images, np.ndarray):
        return [hashlib.sha256(image.tobytes()).digest() for image in dataset.images]
    return list(in_threads(file_hash, dataset.images))


def file_hash(file: Path) -> bytes:
    """The SHA-256 of a file's content; empty where it cannot be read."""
    try:
        check_file(file)
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except (OSError, BadImageError):
        return b""


def _key(hashes: Sequence[bytes], size: int, max_pixels: int | None) -> str:
    made_by = f"{FORMAT} {size} {decoder(max_pixels)}".encode()
    return hashlib.sha256(b"\0".join([made_by, *hashes])).hexdigest()[:32]


def _digest(dataset: ImageDataset, hashes: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join([*hashes, dataset.labels.astype("<i8").tobytes()])).hexdigest()


def _cached(
    files: Sequence[Path], keys: Mapping[int, str], in_memory: bool, max_pixels: int | None, *, keep: bool
) -> tuple[dict[int, Bytes | None], dict[int, str]]:
    """The pixels of all readable ``files`` by size, ``None`` if not ``in_memory``, and why others are not readable."""
    entries = {size: decoded_dir() / key for size, key in keys.items()}
    found = {size: read_entry(entry, len(files), size, with_pixels=in_memory) for size, entry in entries.items()}
    if missing := [size for size in entries if found[size] is None]:
        decoded, reasons, lasting = _decode_all(files, missing, in_memory, max_pixels)
        for size in missing:
            if keep and lasting and write_entry(entries[size], decoded[size], reasons):
                found[size] = read_entry(entries[size], len(files), size, with_pixels=in_memory)
            found[size] = found[size] or Content(decoded[size], reasons)
    every = {size: content for size, content in found.items() if content is not None}
    return {size: content.pixels for size, content in every.items()}, next(iter(every.values())).reasons


def _decode_all(
    files: Sequence[Path], sizes: Sequence[int], in_memory: bool, max_pixels: int | None
) -> tuple[dict[int, Bytes | None], dict[int, str], bool]:
    """The pixels by size, why files cannot be read, and whether that will be the same another time."""
    pixels = {size: np.empty((len(files), size, size, 3), np.uint8) for size in sizes} if in_memory else {}
    reasons: dict[int, str] = {}
    done, lasting = 0, True
    with progress(f"Decoding {counted(len(files), 'image')}", len(files)) as advance:
        for index, result in enumerate(decode_each(files, sizes, max_pixels=max_pixels)):
            if isinstance(result, BadImageError):
                reasons[index] = result.reason
                lasting = lasting and lasts(result)
            else:
                for own, image in zip(pixels.values(), result, strict=False):  # none is kept of streamed ones
                    own[done] = image
                done += 1
            advance(1)
    return {size: pixels[size][:done] if in_memory else None for size in sizes}, reasons, lasting


def _report(bad: Sequence[BadImage], total: int, on_bad_image: OnBadImage) -> None:
    shown = ", ".join(f"{image.id} ({image.reason})" for image in bad[:5])
    named = shown + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    if on_bad_image == "error":
        raise DataError(
            f"{len(bad)} of {counted(total, 'image')} cannot be read: {named}. Fix or remove them, or use "
            f"--on-bad-image skip."
        )
    note(f"{len(bad)} of {counted(total, 'image')} cannot be read and are left out: {named}.")


def _check_classes(dataset: ImageDataset) -> None:
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    if missing := [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]:
        raise DataError(
            f"{dataset.source} has no readable image of {', '.join(repr(name) for name in missing)}; "
            f"every class needs some."
        )
