"""Decode and resize images once, keep the pixels on disk, and map them at the next start.

An entry of the cache is named after the content of the files, the form of the pixels, and the decoder. The content of
files that have not changed is known from the last time that they were read.

A dataset that is larger than memory is not read before it is trained on. What its files hold is known when they have
been decoded: until then a digest of their names and labels stands for that of their content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cnn_registry.backend import memory_limit as usable_memory
from cnn_registry.data.dataset import Bytes, ImageDataset
from cnn_registry.data.form import Form
from cnn_registry.data.image import as_image, decoder, lasts, pixels
from cnn_registry.data.threads import in_flight, in_threads
from cnn_registry.errors import BadImageError, CnnRegistryError, DataError
from cnn_registry.system.cache import cache_limit
from cnn_registry.system.paths import decoded_dir
from cnn_registry.system.progress import note, progress
from cnn_registry.text import counted, enumerated, listing

from .content import file_hash
from .entry import Content, read_entry, write_entry
from .files import ChangedImageError, Files, Hashes, StreamedImages
from .index import forget_digests, recall, remember
from .memory import ArrayImages, ResizedImages
from .source import ImageSource
from .unreadable import OnBadImage as OnBadImage
from .unreadable import Unreadable

FORMAT = 2
"""Grows when the same files would give other pixels or another layout of the cache."""

OF_NAMES = "names:"
"""How a digest begins that stands for the names and labels of images, not for their content."""


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
        digest: a digest of the content of all images and of their labels; of their names and labels where images are
            decoded whenever they are read.
        hashes: a SHA-256 of the content of each image of ``dataset``, each empty until it is known; none where it never
            is.
        failures: what made reading images fail, see `cnn_registry.data.pipeline.batches.reading`.
        unreadable: the images that were found to be unreadable when they were to be read.
        files: the files, and what is known of them; ``None`` where there are none.
    """

    dataset: ImageDataset
    source: ImageSource
    bad: tuple[BadImage, ...]
    digest: str
    hashes: Sequence[bytes] = ()
    failures: list[CnnRegistryError] = field(default_factory=list, repr=False, compare=False)
    unreadable: Unreadable = field(default_factory=Unreadable, repr=False, compare=False)
    files: Files | None = field(default=None, repr=False, compare=False)

    @property
    def is_in_memory(self) -> bool:
        """Whether reading images is copying them."""
        return isinstance(self.source, ArrayImages)

    @property
    def is_of_names(self) -> bool:
        """Whether the digest is one of names, as the files are read while they are trained on."""
        return self.digest.startswith(OF_NAMES)

    def are_of(self, digest: str, without: Collection[str] = ()) -> bool:
        """Whether these are the images of a digest; files that have not been read are read for it.

        Args:
            digest: that of other images, or of these at another time.
            without: ids of images that were left out of it.
        """
        if digest == self.digest:
            return True
        if self.files is None:
            return False
        if digest.startswith(OF_NAMES):
            return digest == digest_of_names(self.dataset)
        return self.is_of_names and digest == self.digest_of_content(without)

    def digest_of_content(self, without: Collection[str] = ()) -> str:
        """The digest of the content and the labels of all images that were not found to be unreadable.

        Args:
            without: ids of more images that are left out.
        """
        if self.files is None or not self.is_of_names:
            return self.digest
        self.files.hash_unknown()
        self.remember()
        kept = np.ones(len(self.dataset), bool)
        kept[list(self.unreadable.reasons)] = False
        if left_out := set(without):
            kept &= [image_id not in left_out for image_id in self.dataset.ids]
        content = self.files.digests[kept & self.files.known].tobytes()
        return hashlib.sha256(content + self.dataset.labels[kept].astype("<i8").tobytes()).hexdigest()

    def remember(self) -> None:
        """Keep what is known of the files for the next start."""
        if self.files is not None:
            remember(self.files, self.dataset.source)


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
        forms: the forms. Images that are held in memory are decoded exactly in any case.
        on_bad_image: ``"skip"`` leaves unreadable images out, with a note; ``"error"`` raises.
        memory_limit: bytes of pixels that are held in memory; more are decoded whenever they are read. Default half of
            the memory that this process may use.
        max_pixels: the largest image that is decoded, width times height; default Pillow's limit.
        keep: whether decoded images are written to the cache.

    Raises:
        DataError: an image is unreadable and ``on_bad_image`` is ``"error"``, a class has no readable image, or a few
            images in one of the forms are larger than the memory.
    """
    if keep:
        cache_limit()  # a value that is wrong is refused before hours of decoding
    wanted = list(dict.fromkeys(forms))
    limit = usable_memory() // 2 if memory_limit is None else memory_limit
    needed = sum(form.values for form in {form.exact for form in wanted})
    _check_room(wanted, needed)
    in_memory = len(dataset) * needed <= limit
    if isinstance(dataset.images, np.ndarray):
        hashes = image_hashes(dataset)
        digest = _digest(dataset, hashes)
        sources = {form: _array_source(dataset.images, form, in_memory) for form in wanted}
        return {form: LoadedImages(dataset, sources[form], (), digest, tuple(hashes)) for form in wanted}
    files = Files(dataset.images)
    files.look()
    recall(files, dataset.source)
    if not in_memory:
        return _streamed(dataset, files, wanted, on_bad_image, max_pixels)
    files.hash_unknown()
    hashes = [files.digest(index) for index in range(len(files))]
    keys = {form: _key(hashes, form, max_pixels) for form in dict.fromkeys(form.exact for form in wanted)}
    decoded, reasons = _cached(files, keys, dataset.source, max_pixels, keep=keep)
    if keep:
        remember(files, dataset.source)
    bad = tuple(BadImage(dataset.ids[index], reason) for index, reason in reasons.items())
    readable = np.ones(len(dataset), bool)
    readable[list(reasons)] = False
    if bad:
        report_bad(bad, len(dataset), on_bad_image)
        dataset, files = dataset.select(readable), files.select(np.flatnonzero(readable))
    refuse_empty_classes(dataset)
    hashes = [files.digest(index) for index in range(len(files))]
    digest = _digest(dataset, hashes)
    return {
        form: LoadedImages(dataset, ArrayImages(decoded[form.exact], form), bad, digest, tuple(hashes), files=files)
        for form in wanted
    }


def _streamed(
    dataset: ImageDataset, files: Files, forms: Sequence[Form], on_bad_image: OnBadImage, max_pixels: int | None
) -> dict[Form, LoadedImages]:
    """The images of a dataset, decoded whenever they are read."""
    refuse_empty_classes(dataset)
    packed = bool(files.known.all()) and not files.states.any()
    hashes = Hashes(files)
    if not files.known.all():
        note(
            f"{counted(len(dataset), 'image')} do not fit into memory, so they are decoded whenever they are read. "
            f"Unreadable and duplicate ones are found then."
        )
    digest = _digest(dataset, hashes) if packed else digest_of_names(dataset)
    unreadable = Unreadable(dataset.ids, on_bad_image)
    return {
        form: LoadedImages(
            dataset, StreamedImages(files, form, max_pixels), (), digest, hashes, unreadable=unreadable, files=files
        )
        for form in forms
    }


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


def digest_of_names(dataset: ImageDataset) -> str:
    """A digest of the names and labels of images."""
    digest = hashlib.sha256(dataset.labels.astype("<i8").tobytes())
    for image_id in dataset.ids:
        digest.update(f"{image_id}\n".encode(errors="backslashreplace"))
    return OF_NAMES + digest.hexdigest()


def _cached(
    files: Files, keys: Mapping[Form, str], source: str, max_pixels: int | None, *, keep: bool
) -> tuple[dict[Form, Bytes], dict[int, str]]:
    """The pixels of all readable ``files`` by form, and why others are not readable.

    Raises:
        DataError: files have changed between being hashed and being decoded.
    """
    entries = {form: decoded_dir() / key for form, key in keys.items()}
    found = {form: read_entry(entry, len(files), form.shape) for form, entry in entries.items()}
    if missing := [form for form in entries if found[form] is None]:
        decoded, reasons, lasting = _decode_all(files, missing, source, max_pixels)
        for form in missing:
            if keep and lasting and write_entry(entries[form], decoded[form], reasons):
                found[form] = read_entry(entries[form], len(files), form.shape)
            found[form] = found[form] or Content(decoded[form], reasons)
    every = {form: content for form, content in found.items() if content is not None}
    return {form: content.pixels for form, content in every.items()}, next(iter(every.values())).reasons


def _decode_all(
    files: Files, forms: Sequence[Form], source: str, max_pixels: int | None
) -> tuple[dict[Form, Bytes], dict[int, str], bool]:
    """The pixels by form, why files cannot be read, and whether that will be the same another time."""
    kept = {form: np.empty((len(files), *form.shape), np.uint8) for form in forms}
    reasons: dict[int, str] = {}
    changed: list[str] = []
    done, lasting = 0, True
    with progress(f"Decoding {counted(len(files), 'image')}", len(files)) as advance:
        results = in_threads(partial(files.attempt, forms=forms, max_pixels=max_pixels), range(len(files)))
        for index, result in enumerate(results):
            if isinstance(result, ChangedImageError):
                changed.append(str(files.images[index]))
            elif isinstance(result, BadImageError):
                reasons[index] = result.reason
                lasting = lasting and lasts(result)
            else:
                for own, image in zip(kept.values(), result, strict=True):
                    own[done] = image
                done += 1
            advance(1)
    if changed:
        forget_digests(source)  # which may have named another content of them
        raise DataError(
            f"{counted(len(changed), 'image')} changed while they were read: {listing(changed, 3)}. Start again when "
            f"nothing writes there any more."
        )
    return {form: kept[form][:done] for form in forms}, reasons, lasting


def report_bad(bad: Sequence[BadImage], total: int, on_bad_image: OnBadImage) -> None:
    """Name the first images that cannot be read.

    Raises:
        DataError: ``on_bad_image`` is ``"error"``.
    """
    named = enumerated((f"{image.id} ({image.reason})" for image in bad), 5)
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
