"""Decode and resize once, keep the pixels on disk, map them at the next start.

An entry of the cache is a folder named after the content of the files, the size, and the decoder. It holds
``bad.json``, the files that cannot be read, and ``images.npy``, the pixels of all others in order. Sets larger than
memory have no ``images.npy``: they are decoded once to know the bad files, and then again whenever they are read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from PIL import Image

from cnn_registry.data.dataset import Bytes, ImageDataset
from cnn_registry.data.image import attempt, check_file, decoder, resized
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import BadImageError, DataError
from cnn_registry.system.paths import decoded_dir
from cnn_registry.system.progress import note, progress
from cnn_registry.text import one_line

from .files import StreamedImages
from .memory import ArrayImages
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
    """A data set whose images can be read.

    Attributes:
        dataset: the data set without the images that were left out.
        source: its decoded images; position i is image i of ``dataset``.
        bad: the images that were left out.
        digest: a digest of the content of all images and of their labels.
        hashes: a SHA-256 of the content of each image of ``dataset``; empty where it is not known.
    """

    dataset: ImageDataset
    source: ImageSource
    bad: tuple[BadImage, ...]
    digest: str
    hashes: tuple[bytes, ...] = ()


def load_images(
    dataset: ImageDataset, size: int, *, on_bad_image: OnBadImage = "skip", memory_limit: int | None = None
) -> LoadedImages:
    """`load_sizes` at one size."""
    return load_sizes(dataset, (size,), on_bad_image=on_bad_image, memory_limit=memory_limit)[size]


def load_sizes(
    dataset: ImageDataset,
    sizes: Collection[int],
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
    keep: bool = True,
) -> dict[int, LoadedImages]:
    """Make the images of a data set readable at some sizes; each file is read and decoded once for all of them.

    Args:
        dataset: what a loader returned.
        sizes: edge lengths in pixels.
        on_bad_image: ``"skip"`` leaves unreadable images out and says so, ``"error"`` raises.
        memory_limit: bytes of pixels from which on they are streamed; default half of the machine's memory.
        max_pixels: the largest image that is decoded, width times height; default Pillow's limit.
        keep: whether decoded images are written to the cache.

    Raises:
        DataError: an image is unreadable and ``on_bad_image`` is ``"error"``, or a class has no readable image.
    """
    sizes, hashes = set(sizes), _hashes(dataset)
    if isinstance(dataset.images, np.ndarray):
        images = {size: np.stack([resized(Image.fromarray(image), size) for image in dataset.images]) for size in sizes}
        digest = _digest(dataset, hashes)
        return {size: LoadedImages(dataset, ArrayImages(images[size]), (), digest, tuple(hashes)) for size in sizes}
    limit = psutil.virtual_memory().total // 2 if memory_limit is None else memory_limit
    in_memory = len(dataset) * sum(size * size * 3 for size in sizes) <= limit
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
        return StreamedImages(files, size) if own is None else ArrayImages(own)

    return {size: LoadedImages(dataset, source(size), bad, digest, tuple(hashes)) for size in sizes}


def _hashes(dataset: ImageDataset) -> list[bytes]:
    """A hash of the content of each image; empty for a file that cannot be read."""
    if isinstance(dataset.images, np.ndarray):
        return [hashlib.sha256(image.tobytes()).digest() for image in dataset.images]
    return list(in_threads(_file_hash, dataset.images))


def _file_hash(file: Path) -> bytes:
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
    found = {size: _read(entry, len(files), size, in_memory) for size, entry in entries.items()}
    if missing := [size for size in entries if found[size] is None]:
        decoded, reasons = _decode_all(files, missing, in_memory, max_pixels)
        for size in missing:
            if not keep:
                found[size] = decoded[size], reasons
                continue
            shutil.rmtree(entries[size], ignore_errors=True)  # whatever is there is damaged
            _write(entries[size], decoded[size], reasons)
            found[size] = _read(entries[size], len(files), size, in_memory) or (decoded[size], reasons)
    every = {size: entry for size, entry in found.items() if entry is not None}
    return {size: pixels for size, (pixels, _) in every.items()}, next(iter(every.values()))[1]


def _read(entry: Path, count: int, size: int, in_memory: bool) -> tuple[Bytes | None, dict[int, str]] | None:
    """An entry of the cache, or ``None`` where it is missing or damaged."""
    try:
        reasons = {int(index): str(reason) for index, reason in json.loads((entry / "bad.json").read_text()).items()}
        if not in_memory:
            return None, reasons
        pixels = np.asarray(np.load(entry / "images.npy", mmap_mode="r"))
    except (OSError, EOFError, ValueError, AttributeError):
        return None
    fits = pixels.dtype == np.uint8 and pixels.shape == (count - len(reasons), size, size, 3)
    return (pixels, reasons) if fits else None


def _write(entry: Path, pixels: Bytes | None, reasons: dict[int, str]) -> None:
    """Put an entry in its place in one step; what another process has put there meanwhile is as good."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".") as temporary:
            made = Path(temporary) / entry.name
            made.mkdir()
            if pixels is not None:
                np.save(made / "images.npy", pixels)
            (made / "bad.json").write_text(json.dumps(reasons))
            made.rename(entry)
    except OSError as error:
        if not entry.exists():
            note(f"The decoded images cannot be kept in {entry.parent}, so they are not ({one_line(error)}).")


def _decode_all(
    files: Sequence[Path], sizes: Sequence[int], in_memory: bool, max_pixels: int | None
) -> tuple[dict[int, Bytes | None], dict[int, str]]:
    pixels = {size: np.empty((len(files), size, size, 3), np.uint8) for size in sizes} if in_memory else {}
    reasons: dict[int, str] = {}
    done = 0

    with progress(f"Decoding {len(files)} images", len(files)) as advance:
        for index, result in enumerate(in_threads(partial(attempt, sizes=sizes, max_pixels=max_pixels), files)):
            if isinstance(result, BadImageError):
                reasons[index] = result.reason
            else:
                for own, image in zip(pixels.values(), result, strict=False):  # none is kept of streamed ones
                    own[done] = image
                done += 1
            advance(1)
    return {size: pixels[size][:done] if in_memory else None for size in sizes}, reasons


def _report(bad: Sequence[BadImage], total: int, on_bad_image: OnBadImage) -> None:
    shown = ", ".join(f"{image.id} ({image.reason})" for image in bad[:5])
    named = shown + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    if on_bad_image == "error":
        raise DataError(
            f"{len(bad)} of {total} images cannot be read: {named}. Mend or remove them, or use --on-bad-image skip."
        )
    note(f"{len(bad)} of {total} images cannot be read and are left out: {named}.")


def _check_classes(dataset: ImageDataset) -> None:
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    if missing := [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]:
        raise DataError(
            f"{dataset.source} has no readable image of {', '.join(repr(name) for name in missing)}; "
            f"every class needs some."
        )
