"""Decode and resize images once, keep the pixels on disk, and map them at the next start.

An entry of the cache is named after the content of the files, the form of the pixels, and the decoder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cnn_registry.backend import memory_limit as usable_memory
from cnn_registry.data.dataset import Bytes, EncodedImage, ImageDataset
from cnn_registry.data.form import Form
from cnn_registry.data.image import as_image, decoder, lasts, pixels
from cnn_registry.data.threads import in_flight, in_threads
from cnn_registry.errors import BadImageError, CnnRegistryError, DataError
from cnn_registry.system.paths import decoded_dir
from cnn_registry.system.progress import note, progress
from cnn_registry.text import counted, listing

from .entry import Content, read_entry, write_entry
from .files import Seen, StreamedImages, decode_each, file_hash, see
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
    form: int | Form,
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
) -> LoadedImages:
    """`load_forms` in one form; an integer stands for RGB squares with this edge length in pixels."""
    wanted = Form.of(form)
    loaded = load_forms(dataset, (wanted,), on_bad_image=on_bad_image, memory_limit=memory_limit, max_pixels=max_pixels)
    return loaded[wanted]


def load_forms(
    dataset: ImageDataset,
    forms: Iterable[Form],
    *,
    on_bad_image: OnBadImage = "skip",
    memory_limit: int | None = None,
    max_pixels: int | None = None,
    keep: bool = True,
) -> dict[Form, LoadedImages]:
    """Make the images of a dataset readable in some forms. Each file is read and decoded once for all of them.

    Args:
        dataset: what a loader returned.
        forms: the forms.
        on_bad_image: ``"skip"`` leaves unreadable images out, with a note; ``"error"`` raises.
        memory_limit: bytes of pixels that are held in memory; more are decoded whenever they are read. Default half of
            the memory that this process may use.
        max_pixels: the largest image that is decoded, width times height; default Pillow's limit.
        keep: whether decoded images are written to the cache.

    Raises:
        DataError: an image is unreadable and ``on_bad_image`` is ``"error"``, a class has no readable image, or a few
            images in one of the forms are larger than the memory.
    """
    wanted = list(dict.fromkeys(forms))
    seen = [] if isinstance(dataset.images, np.ndarray) else list(in_threads(see, dataset.images))
    hashes = [file.digest for file in seen] or image_hashes(dataset)
    limit = usable_memory() // 2 if memory_limit is None else memory_limit
    needed = sum(form.values for form in wanted)
    _check_room(wanted, needed)
    in_memory = len(dataset) * needed <= limit
    if isinstance(dataset.images, np.ndarray):
        digest = _digest(dataset, hashes)
        sources = {form: _array_source(dataset.images, form, in_memory) for form in wanted}
        return {form: LoadedImages(dataset, sources[form], (), digest, tuple(hashes)) for form in wanted}
    keys = {form: _key(hashes, form, max_pixels) for form in wanted}
    decoded, reasons = _cached(seen, keys, in_memory, max_pixels, keep=keep)
    bad = tuple(BadImage(dataset.ids[index], reason) for index, reason in reasons.items())
    readable = np.ones(len(dataset), bool)
    readable[list(reasons)] = False
    if bad:
        report_bad(bad, len(dataset), on_bad_image)
        dataset, seen = dataset.select(readable), [seen[index] for index in np.flatnonzero(readable)]
    refuse_empty_classes(dataset)
    hashes = [file.digest for file in seen]
    digest = _digest(dataset, hashes)

    def source(form: Form) -> ImageSource:
        own = decoded[form]
        return StreamedImages(seen, form, max_pixels) if own is None else ArrayImages(own, form)

    return {form: LoadedImages(dataset, source(form), bad, digest, tuple(hashes)) for form in wanted}


def _check_room(forms: Sequence[Form], needed: int) -> None:
    """Refuse forms in which the images that are in work at one time would fill the memory."""
    available, taken, largest = usable_memory(), in_flight() * needed, max(forms, key=lambda form: form.values)
    if taken > available:
        raise DataError(
            f"Images of {largest} pixels are too large: {in_flight()} are decoded at a time and take "
            f"{taken / 1e9:,.1f} GB; this process may use {available / 1e9:,.1f} GB. Choose a smaller image_size."
        )


def _array_source(images: Bytes, form: Form, in_memory: bool) -> ImageSource:
    if not in_memory:
        return ResizedImages(images, form)
    return ArrayImages(np.stack([pixels(as_image(image), form) for image in images]), form)


def image_hashes(dataset: ImageDataset) -> list[bytes]:
    """A hash of the content of each image; empty for a file that cannot be read."""
    if isinstance(dataset.images, np.ndarray):
        return [hashlib.sha256(image.tobytes()).digest() for image in dataset.images]
    return list(in_threads(file_hash, dataset.images))


def _key(hashes: Sequence[bytes], form: Form, max_pixels: int | None) -> str:
    made_by = f"{FORMAT} {form.key} {decoder(max_pixels)}".encode()
    return hashlib.sha256(b"\0".join([made_by, *hashes])).hexdigest()[:32]


def _digest(dataset: ImageDataset, hashes: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join([*hashes, dataset.labels.astype("<i8").tobytes()])).hexdigest()


def _cached(
    files: Sequence[Seen], keys: Mapping[Form, str], in_memory: bool, max_pixels: int | None, *, keep: bool
) -> tuple[dict[Form, Bytes | None], dict[int, str]]:
    """The pixels of all readable ``files`` by form, ``None`` if not ``in_memory``, and why others are not readable.

    Raises:
        DataError: files have changed between being hashed and being decoded.
    """
    entries = {form: decoded_dir() / key for form, key in keys.items()}
    found = {form: read_entry(entry, len(files), form.shape, with_pixels=in_memory) for form, entry in entries.items()}
    if missing := [form for form in entries if found[form] is None]:
        decoded, reasons, lasting = _decode_all([file.path for file in files], missing, in_memory, max_pixels)
        _refuse_changed(files)
        for form in missing:
            if keep and lasting and write_entry(entries[form], decoded[form], reasons):
                found[form] = read_entry(entries[form], len(files), form.shape, with_pixels=in_memory)
            found[form] = found[form] or Content(decoded[form], reasons)
    every = {form: content for form, content in found.items() if content is not None}
    return {form: content.pixels for form, content in every.items()}, next(iter(every.values())).reasons


def _refuse_changed(files: Sequence[Seen]) -> None:
    changed = [str(file.path) for file in files if file.has_changed]
    if changed:
        raise DataError(
            f"{counted(len(changed), 'image')} changed while they were read: {listing(changed, 3)}. Start again when "
            f"nothing writes there any more."
        )


def _decode_all(
    files: Sequence[EncodedImage], forms: Sequence[Form], in_memory: bool, max_pixels: int | None
) -> tuple[dict[Form, Bytes | None], dict[int, str], bool]:
    """The pixels by form, why files cannot be read, and whether that will be the same another time."""
    kept = {form: np.empty((len(files), *form.shape), np.uint8) for form in forms} if in_memory else {}
    reasons: dict[int, str] = {}
    done, lasting = 0, True
    with progress(f"Decoding {counted(len(files), 'image')}", len(files)) as advance:
        for index, result in enumerate(decode_each(files, forms, max_pixels=max_pixels)):
            if isinstance(result, BadImageError):
                reasons[index] = result.reason
                lasting = lasting and lasts(result)
            else:
                for own, image in zip(kept.values(), result, strict=False):  # none is kept of streamed ones
                    own[done] = image
                done += 1
            advance(1)
    return {form: kept[form][:done] if in_memory else None for form in forms}, reasons, lasting


def report_bad(bad: Sequence[BadImage], total: int, on_bad_image: OnBadImage) -> None:
    """Name the first images that cannot be read.

    Raises:
        DataError: ``on_bad_image`` is ``"error"``.
    """
    shown = ", ".join(f"{image.id} ({image.reason})" for image in bad[:5])
    named = shown + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    if on_bad_image == "error":
        raise DataError(
            f"{len(bad)} of {counted(total, 'image')} cannot be read: {named}. Fix or remove them, or use "
            f"--on-bad-image skip."
        )
    note(f"{len(bad)} of {counted(total, 'image')} cannot be read and are left out: {named}.")


def refuse_empty_classes(dataset: ImageDataset) -> None:
    """Refuse what is left of a dataset where a class has no image any more.

    Raises:
        DataError: one has none.
    """
    counts = dataset.class_counts()
    if missing := [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]:
        raise DataError(
            f"{dataset.source} has no readable image of {', '.join(repr(name) for name in missing)}; "
            f"every class needs some."
        )
