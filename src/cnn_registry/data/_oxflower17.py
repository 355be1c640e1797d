"""Find, fetch and read the Oxford 17 category flowers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, DownloadError
from ..progress import note
from .archive import extract
from .dataset import ImageDataset
from .download import download
from .paths import datasets_dir
from .registry import embedded_datasets

ARCHIVE = "17flowers.tgz"
ARCHIVE_MD5 = "b59a65d8d1a99cd66944d474e1289eab"
SPLITS = "datasplits.mat"
SPLITS_MD5 = "4828cddfd0d803c5abbdebcb1e148a1e"
SITE = "www.robots.ox.ac.uk/~vgg/data/flowers/17/"

CLASS_NAMES = (
    "daffodil",
    "snowdrop",
    "lily of the valley",
    "bluebell",
    "crocus",
    "iris",
    "tigerlily",
    "tulip",
    "fritillary",
    "sunflower",
    "daisy",
    "coltsfoot",
    "dandelion",
    "cowslip",
    "buttercup",
    "windflower",
    "pansy",
)
PER_CLASS = 80
NUM_IMAGES = PER_CLASS * len(CLASS_NAMES)

OFFICIAL_ORDER = tuple(range(len(CLASS_NAMES)))
TFLEARN_ORDER = tuple(sorted(OFFICIAL_ORDER, key=str))
"""The official class of each of tflearn's labels: 0, 1, 10, 11, ..., 16, 2, ..., 9."""


def load(source: Path | None) -> ImageDataset:
    """The flowers at ``source``; see `oxflower17.oxflower17`."""
    if source is None:
        source = _in_cache() or _fetch()
    if not source.exists():
        raise DataError(f"There is no {source}; expected {ARCHIVE}, the folder that holds 'jpg', or 'jpg' itself.")
    root = _extracted(source) if source.is_file() else source
    jpg = root / "jpg" if (root / "jpg").is_dir() else root
    order, numbers, labels, files = _images(jpg)
    if not files:
        raise DataError(
            f"There are no flowers in {source}; expected 'jpg/image_0001.jpg' and on, or 'jpg/<0 to 16>/image_0001.jpg'."
        )
    _report_missing(numbers, jpg)
    return ImageDataset(
        name="oxflower17",
        class_names=tuple(CLASS_NAMES[official] for official in order),
        ids=tuple(file.relative_to(root).as_posix() for file in files),
        labels=np.array(labels, np.int64),
        images=tuple(files),
        splits=_official_splits((source.parent if source.is_file() else root, jpg.parent), numbers),
        default_split=None,
        source=str(source.resolve()),
        image_size=None,
    )


def _home() -> Path:
    return datasets_dir() / "oxflower17"


def _in_cache() -> Path | None:
    """What a user or an earlier run has put into the cache folder."""
    home = _home()
    if (home / "jpg").is_dir():
        return home
    return home / ARCHIVE if (home / ARCHIVE).is_file() else None


def _fetch() -> Path:
    archive = _home() / ARCHIVE
    try:
        download(_urls(ARCHIVE), archive, md5=ARCHIVE_MD5)
    except DownloadError as error:
        embedded = " or ".join(f"--dataset {name}" for name in embedded_datasets())
        raise DownloadError(
            f"{error} Use {embedded}, which needs no download; or --data DIR with a folder of your own; "
            f"or put the archive at {archive}."
        ) from error
    try:
        download(_urls(SPLITS), archive.with_name(SPLITS), md5=SPLITS_MD5)
    except DownloadError as error:
        note(f"The official splits are left out: {error}")
    return archive


def _urls(file: str) -> list[str]:
    return [f"{scheme}://{SITE}{file}" for scheme in ("https", "http")]


def _extracted(archive: Path) -> Path:
    """The folder that ``archive`` is extracted to, named after its content."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    root = _home() / digest
    extract(archive, root)
    return root


def _images(jpg: Path) -> tuple[Sequence[int], list[int], list[int], list[Path]]:
    """The official class of each label, and each image's number, label and file, in the order of the layout."""
    folders = [jpg / str(official) for official in TFLEARN_ORDER]
    if any(folder.is_dir() for folder in folders):
        order, found = (
            TFLEARN_ORDER,
            [(number, label, file) for label, folder in enumerate(folders) for number, file in _numbered(folder)],
        )
    else:
        order, found = OFFICIAL_ORDER, [(number, (number - 1) // PER_CLASS, file) for number, file in _numbered(jpg)]
    numbers, labels, files = map(list, zip(*found, strict=True)) if found else ([], [], [])
    return order, numbers, labels, files
