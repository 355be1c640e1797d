"""Datasets whose images can be read, what is known of their content, and what of them cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from cnn_registry.data.dataset import OF_NAMES, ImageDataset
from cnn_registry.data.threads import in_threads
from cnn_registry.errors import CnnRegistryError, DataError
from cnn_registry.system.progress import note
from cnn_registry.text import counted, enumerated

from .content import file_hash
from .files import Files
from .index import remember
from .memory import ArrayImages
from .source import ImageSource
from .unreadable import OnBadImage, Unreadable


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


def image_hashes(dataset: ImageDataset) -> list[bytes]:
    """A hash of the content of each image; empty for a file that cannot be read."""
    if isinstance(dataset.images, np.ndarray):
        return [hashlib.sha256(image.tobytes()).digest() for image in dataset.images]
    return list(in_threads(file_hash, dataset.images))


def digest_of(dataset: ImageDataset, hashes: Sequence[bytes]) -> str:
    """A digest of the content and the labels of images."""
    return hashlib.sha256(b"".join([*hashes, dataset.labels.astype("<i8").tobytes()])).hexdigest()


def digest_of_names(dataset: ImageDataset) -> str:
    """A digest of the names and labels of images."""
    digest = hashlib.sha256(dataset.labels.astype("<i8").tobytes())
    for image_id in dataset.ids:
        digest.update(f"{image_id}\n".encode(errors="backslashreplace"))
    return OF_NAMES + digest.hexdigest()


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
