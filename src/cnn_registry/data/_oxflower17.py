"""Find, download and read the Oxford 17 category flowers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnn_registry.errors import DataError, DownloadError
from cnn_registry.registry.datasets import embedded_datasets
from cnn_registry.system.download import download
from cnn_registry.system.extras import need
from cnn_registry.system.paths import datasets_dir
from cnn_registry.system.progress import note
from cnn_registry.text import enumerated, one_line

from .archive import extract
from .dataset import ImageDataset, Indices, Split

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


class Flower(NamedTuple):
    """One image: its official number (1 to 1360), its label, and its file."""

    number: int
    label: int
    file: Path


def load(source: Path | None) -> ImageDataset:
    """The flowers at ``source``; see `oxflower17.oxflower17`."""
    source = (_found_in(_home()) or _fetch()) if source is None else (_found_in(source) or source)
    if not source.exists():
        raise DataError(f"There is no {source}; expected {ARCHIVE}, the folder that holds 'jpg', or 'jpg' itself.")
    root = _extracted(source) if source.is_file() else source
    jpg = root / "jpg" if (root / "jpg").is_dir() else root
    order, flowers = _flowers(jpg)
    if not flowers:
        raise DataError(
            f"There are no flowers in {source}; expected 'jpg/image_0001.jpg' to 'jpg/image_1360.jpg', or folders "
            f"'jpg/0' to 'jpg/16' of them."
        )
    _report_missing(flowers, jpg)
    return ImageDataset(
        name="oxflower17",
        class_names=tuple(CLASS_NAMES[official] for official in order),
        ids=tuple(flower.file.relative_to(jpg).as_posix() for flower in flowers),
        labels=np.array([flower.label for flower in flowers], np.int64),
        images=tuple(flower.file for flower in flowers),
        splits=_official_splits((source.parent if source.is_file() else root, jpg.parent), flowers),
        default_split=None,
        source=str(source.resolve()),
        image_size=None,
    )


def _home() -> Path:
    return datasets_dir() / "oxflower17"


def _found_in(folder: Path) -> Path | None:
    """The folder itself where it holds the extracted tree, or the archive in it."""
    if (folder / "jpg").is_dir():
        return folder
    return folder / ARCHIVE if (folder / ARCHIVE).is_file() else None


def _fetch() -> Path:
    archive = _home() / ARCHIVE
    try:
        download(_urls(ARCHIVE), archive, digest=f"md5:{ARCHIVE_MD5}")
    except DownloadError as error:
        embedded = " or ".join(f"--dataset {name}" for name in embedded_datasets())
        raise DownloadError(
            f"{error} Use {embedded}, which needs no download; or --data DIR with a folder of your own images; "
            f"or put the archive at {archive}."
        ) from error
    try:
        download(_urls(SPLITS), archive.with_name(SPLITS), digest=f"md5:{SPLITS_MD5}")
    except DownloadError as error:
        note(f"The official splits are not available: {error}")
    return archive


def _urls(file: str) -> list[str]:
    return [f"{scheme}://{SITE}{file}" for scheme in ("https", "http")]


def _extracted(archive: Path) -> Path:
    """The folder that the archive is extracted to, which is named after its content."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    root = _home() / digest
    extract(archive, root)
    return root


def _flowers(jpg: Path) -> tuple[tuple[int, ...], list[Flower]]:
    """The official class of each label, and the images in the order of their labels."""
    folders = [jpg / str(official) for official in TFLEARN_ORDER]
    if not any(folder.is_dir() for folder in folders):
        return OFFICIAL_ORDER, [Flower(number, (number - 1) // PER_CLASS, file) for number, file in _numbered(jpg)]
    return TFLEARN_ORDER, [
        Flower(number, label, file)
        for label, folder in enumerate(folders)
        if folder.is_dir()
        for number, file in _numbered(folder)
    ]


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """The numbers and files of the images in ``folder``, in order."""
    matches = ((re.fullmatch(r"image_(\d{4})\.jpg", file.name), file) for file in sorted(folder.iterdir()))
    return [(int(match[1]), file) for match, file in matches if match and 1 <= int(match[1]) <= NUM_IMAGES]


def _report_missing(flowers: Sequence[Flower], jpg: Path) -> None:
    missing = sorted(set(range(1, NUM_IMAGES + 1)) - {flower.number for flower in flowers})
    if missing:
        named = enumerated((f"image_{number:04}.jpg" for number in missing), 3)
        note(f"{len(missing)} of {NUM_IMAGES} images are missing from {jpg}: {named}.")


def _official_splits(folders: Sequence[Path], flowers: Sequence[Flower]) -> dict[str, Split]:
    """The splits in ``datasplits.mat``, which is in the first of ``folders`` that has it; none if it cannot be read."""
    file = next((folder / SPLITS for folder in folders if (folder / SPLITS).is_file()), None)
    if file is None:
        return {}
    need("The official split of 'oxflower17'", "scipy")
    from scipy.io import loadmat

    position = {flower.number: index for index, flower in enumerate(flowers)}

    def indices(numbers: Any) -> Indices:
        return np.array([position[number] for number in numbers.ravel().tolist() if number in position], np.int64)

    try:
        mat = loadmat(file)
        return {
            f"official-{k}": Split(indices(mat[f"trn{k}"]), indices(mat[f"val{k}"]), indices(mat[f"tst{k}"]))
            for k in (1, 2, 3)
        }
    except Exception as error:  # the reader may raise anything on a damaged file
        note(f"The official splits are not available: {file} cannot be read ({one_line(error)}).")
        return {}
