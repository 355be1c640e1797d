"""Any folder of class folders, or ``train/ val/ [test/]`` of class folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cnn_registry.errors import DataError
from cnn_registry.system.paths import as_text
from cnn_registry.system.progress import note
from cnn_registry.text import natural_key

from .dataset import ImageDataset, Split

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
AT_LEAST = {"train": 2, "val": 1, "test": 0}
"""How many classes each part must have images of."""
VALIDATION_NAMES = ("val", "valid", "validation")
GIVEN_SPLIT = "folders"
"""The name of the split that ``train/`` and ``val/`` make."""


def load_folder(root: Path) -> ImageDataset:
    """Find the images of a folder; each class is a folder, its images lie at any depth in it.

    Hidden files and files of other kinds are passed over. Classes and images are in natural order.

    Args:
        root: holds class folders, or ``train`` and ``val`` (or ``valid``, ``validation``) and perhaps ``test``, each of
            class folders.

    Raises:
        DataError: there is no such folder, it or one in it cannot be read, it holds no image, fewer than two classes,
            or the classes of ``val`` or ``test`` are not those of ``train``.
    """
    try:
        if not root.exists():
            raise DataError(f"There is no folder {root}; expected a folder of class folders.")
        if not root.is_dir():
            raise DataError(
                f"{root} is a file; expected a folder of class folders. For a data set's archive, name the data set "
                f"too."
            )
        parts = _parts(root)
        return _split_folders(root, parts) if parts else _class_folders(root)
    except RecursionError as error:
        raise DataError(f"The folders in {root} nest too deeply.") from error
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}.") from error


def _parts(root: Path) -> dict[str, Path]:
    """The folders named ``train``, ``val`` and ``test`` under those names; empty where the root holds classes."""
    folders = _folders(root)
    names = {folder.name.lower(): folder for folder in folders}
    validation = next((name for name in VALIDATION_NAMES if name in names), None)
    if "train" in names and validation:
        if alike := [pair for pair in _alike(folders) if pair[0].lower() in ("train", "test", *VALIDATION_NAMES)]:
            raise DataError(f"{root} has two folders {_listing(alike[0])}. Rename one, or put their content together.")
        parts = {"train": names["train"], "val": names[validation]}
        return parts | ({"test": names["test"]} if "test" in names else {})
    if "train" in names and names.keys() <= {"train", "test"}:
        raise DataError(f"{root} has a folder 'train' but no 'val'. Add one, or give the path of 'train' itself.")
    return {}


def _class_folders(root: Path) -> ImageDataset:
    found = _scan(root, at_least=2)
    files, labels = _listed(found, tuple(found))
    return _dataset(root, tuple(found), files, labels, {})


def _split_folders(root: Path, parts: dict[str, Path]) -> ImageDataset:
    found = {part: _scan(folder, AT_LEAST[part]) for part, folder in parts.items()}
    class_names = tuple(found["train"])
    files: list[Path] = []
    labels: list[int] = []
    indices = {part: np.empty(0, np.int64) for part in AT_LEAST}
    for part, classes in found.items():
        if unknown := [name for name in classes if name not in class_names]:
            raise DataError(
                f"{parts[part]} has {_counted(len(unknown), 'class folder')} that {parts['train']} has no images of: "
                f"{_listing(unknown)}."
            )
        if part == "val" and (absent := [name for name in class_names if name not in classes]):
            note(
                f"{_counted(len(absent), 'class')} of {parts['train']} without an image in {parts['val']}: "
                f"{_listing(absent)}."
            )
        part_files, part_labels = _listed(classes, class_names)
        indices[part] = np.arange(len(files), len(files) + len(part_files))
        files += part_files
        labels += part_labels
    return _dataset(root, class_names, files, labels, {GIVEN_SPLIT: Split(**indices)})


def _scan(root: Path, at_least: int) -> dict[str, list[Path]]:
    """The images of each class folder in ``root`` that has some, and ``at_least`` so many have."""
    seen = {_identity(root)}
    folders = _folders(root)
    found = {folder.name: list(_images(folder, seen)) for folder in folders}
    filled = {name: files for name, files in found.items() if files}
    if len(filled) < at_least:
        loose = sum(file.suffix.lower() in SUFFIXES for file in root.iterdir())
        has = (
            f"there is only {next(iter(filled))!r}"
            if filled
            else f"it has {_counted(loose, 'image')} in no such folder"
        )
        raise DataError(
            f"Expected {at_least} or more class folders with JPEG, PNG, WebP, BMP or GIF images in {root}; {has}."
        )
    if empty := [name for name, files in found.items() if not files]:
        note(f"{_counted(len(empty), 'class folder')} without an image in {root}, left out: {_listing(empty)}.")
    for pair in _alike(folders):
        note(f"Classes in {root} that differ only in case are kept apart: {_listing(pair)}.")
    return filled


def _folders(root: Path) -> list[Path]:
    folders = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(folders, key=_natural)


def _alike(folders: Iterable[Path]) -> list[tuple[str, str]]:
    """Names that differ only in case, in pairs."""
    first: dict[str, str] = {}
    return [
        (first[folder.name.lower()], folder.name)
        for folder in folders
        if first.setdefault(folder.name.lower(), folder.name) != folder.name
    ]


def _identity(folder: Path) -> tuple[int, int]:
    """What tells a folder from all others, whatever path or link leads there."""
    facts = folder.stat()
    return facts.st_dev, facts.st_ino


def _images(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """The image files of a class, in natural order. ``seen`` keeps links to folders from being walked in circles."""
    identity = _identity(folder)
    if identity in seen:
        return
    seen.add(identity)
    for path in sorted(folder.iterdir(), key=_natural):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _images(path, seen)
        # A link to nowhere is an image that cannot be read, not one that is not there.
        elif path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink()):
            yield path


def _listed(found: dict[str, list[Path]], class_names: tuple[str, ...]) -> tuple[list[Path], list[int]]:
    files = [file for name in class_names for file in found.get(name, [])]
    labels = [label for label, name in enumerate(class_names) for _ in found.get(name, [])]
    return files, labels


def _dataset(
    root: Path, class_names: tuple[str, ...], files: list[Path], labels: list[int], splits: dict[str, Split]
) -> ImageDataset:
    return ImageDataset(
        name=root.resolve().name,
        class_names=tuple(map(as_text, class_names)),
        ids=tuple(as_text(file.relative_to(root).as_posix()) for file in files),
        labels=np.array(labels, np.int64),
        images=tuple(files),
        splits=splits,
        default_split=next(iter(splits), None),
        source=str(root.resolve()),
        image_size=None,
    )


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    return natural_key(path.name), path.name


def _counted(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else plural}"


def _listing(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
