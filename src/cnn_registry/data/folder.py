"""A folder of class folders, or ``train/ val/ [test/]`` of class folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from unicodedata import normalize

import numpy as np

from cnn_registry.errors import DataError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.progress import note
from cnn_registry.text import as_text, counted, listing, quoted

from . import formats
from .dataset import ImageDataset, Split
from .parts import Role, composed, part, parts
from .paths import PathsBelow
from .walk import Walk, kind_of

GIVEN_SPLIT = "folders"
"""The name of the split that ``train/`` and ``val/`` make."""

_PLAIN_NAMES: Mapping[Role, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Names of parts that need no explanation, in lower case."""

Classes = Mapping[str, Sequence[str]]
"""The images of each class by its name, as paths relative to the root, in natural order."""


@checked_arguments
def load_folder(
    root: str | Path, *, min_classes: int = 2, name: str | None = None, image_size: int | tuple[int, int] | None = None
) -> ImageDataset:
    """Find the images of a folder. Each class is a folder, and its images lie at any depth in it.

    Hidden files are ignored. Other files that are not used are counted in a note, by suffix. Run directories, virtual
    environments and caches are left out, with a note. Classes and images are in natural order. Folders whose names
    differ only in how Unicode composes their letters are one class.

    Args:
        root: holds class folders; or two or three folders that hold them, for training, for validation and for tests:
            ``train``, ``val`` and ``test``, or names that mean the same (``Training``, ``validation_set``, ``seg_test``
            ...).
        min_classes: the number of classes that must have images.
        name: the dataset's name; default that of the folder.
        image_size: edge length in pixels, or height and width, at which the images are used by default; ``None`` where
            they vary.

    Returns:
        Class names, and for each image a label, a stable ID and its file.

    Raises:
        DataError: there is no such folder, it or one in it cannot be read, it has too few classes with images, classes
            of the validation part are missing in the training part, or folders look like parts of a dataset and cannot
            be used as such.
    """
    root = Path(root)
    try:
        _check_root(root)
        walk = Walk(root)
        folders = walk.folders(root)
        given = _parts(walk, root, folders)
        if given:
            dataset = _split_folders(walk, folders, given, min_classes)
        else:
            _refuse_parts_inside(walk, folders)
            dataset = _class_folders(walk, folders, min_classes)
        for line in walk.summary():
            note(line)
        return replace(dataset, name=name or dataset.name, image_size=image_size)
    except RecursionError as error:
        raise DataError(f"The folders in {root} nest too deeply.") from error
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}.") from error


def find_images(folder: Path) -> list[Path]:
    """The image files at any depth in a folder, in natural order; others are counted in a note.

    Raises:
        DataError: the folder cannot be read, or holds no image.
    """
    try:
        walk = Walk(folder)
        found = list(walk.images(folder))
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}.") from error
    for line in walk.summary():
        note(line)
    if not found:
        raise DataError(f"{folder} holds no pictures; expected {formats.listed()} files.")
    return found


def _check_root(root: Path) -> None:
    if not root.exists():
        raise DataError(f"There is no folder {root}; expected a folder of class folders.")
    if not root.is_dir():
        raise DataError(
            f"{root} is a file; expected a folder of class folders, or a table (.csv, .tsv or .parquet). If it is the "
            f"archive of a dataset, also name the dataset."
        )
    if what := kind_of(root):
        raise DataError(f"{root} is a {what}; expected a folder of class folders.")


def _parts(walk: Walk, root: Path, folders: Sequence[Path]) -> dict[Role, Path]:
    """The folders for training, validation and tests; empty if the root holds classes.

    Raises:
        DataError: the names look like parts, but cannot be used as such.
    """
    groups = parts(folder.name for folder in folders)
    if not groups:
        _refuse_plain_part(walk, root, folders)
        return {}
    found = groups[0]
    names = [name for group in groups for members in group.values() for name in members]
    like_parts = f"{root} has folders {listing(names)}, which look like parts of a dataset and not like classes"
    if len(groups) > 1:
        raise DataError(f"{like_parts}. Put the classes into 'train' and 'val', or give the path of one part.")
    if twice := next((members for members in found.values() if len(members) > 1), None):
        raise DataError(f"{root} has two folders {listing(twice[:2])}. Rename one, or put their contents together.")
    if missing := [repr(role) for role in ("train", "val") if role not in found]:
        raise DataError(f"{like_parts}, but no {missing[0]}. {_way_out(walk, root / names[0])}")
    given = {role: root / members[0] for role, members in found.items()}
    if any(folder.name.lower() not in _PLAIN_NAMES[role] for role, folder in given.items()):
        note(f"Parts of {root}: {', '.join(f'{quoted(folder.name)} is {role}' for role, folder in given.items())}.")
    return given


def _refuse_plain_part(walk: Walk, root: Path, folders: Sequence[Path]) -> None:
    """Refuse a folder of folders that is called a part if it is the only folder, or if another one sounds like one."""
    plain = next((folder for folder in folders if _is_plain_part(walk, folder)), None)
    if plain is None:
        return
    others = [folder.name for folder in folders if folder != plain and part(folder.name)]
    if others:
        raise DataError(
            f"{root} has folders {listing([plain.name, *others])}, which look like parts of a dataset and not like "
            f"classes. Call them 'train', 'val' and 'test', or give the path of one part: {plain}"
        )
    if len(folders) == 1:
        raise DataError(f"{root} has a folder {quoted(plain.name)} and no other part. {_way_out(walk, plain)}")


def _is_plain_part(walk: Walk, folder: Path) -> bool:
    """Whether a folder is called a part, and nothing else, and holds folders."""
    meant = part(folder.name)
    return meant is not None and not meant.rest and len(walk.subfolders(folder)) > 1


def _way_out(walk: Walk, folder: Path) -> str:
    """What to do if a part is missing beside ``folder``."""
    return f"Add one, or give the path of one part: {_inner(walk, folder)}"


def _inner(walk: Walk, folder: Path) -> Path:
    """The folder that holds something else than one folder; archives often hold a folder in a folder."""
    for _ in range(4):
        inside = walk.subfolders(folder)
        if len(inside) != 1 or any(path.is_file() for path in folder.iterdir()):
            break
        folder = inside[0]
    return folder


def _refuse_parts_inside(walk: Walk, folders: Sequence[Path]) -> None:
    """Refuse folders that hold the parts of a dataset as if they were classes.

    Raises:
        DataError: one holds them.
    """
    root = walk.root
    for folder in folders:
        inside = [path for path in walk.subfolders(folder) if not kind_of(path)]
        if len(folders) == 1 and _parts(walk, folder, inside):
            raise DataError(f"The parts of the dataset in {root} are in {folder}; give that path.")
        groups = parts(path.name for path in inside)
        if not groups:
            continue
        names = [name for group in groups for members in group.values() for name in members]
        raise DataError(
            f"{folder} holds {listing(names)}, which look like parts of a dataset, so it is not a class. Give the path "
            f"of the folder that holds the classes; if these are in {root}, put them below the parts, as in "
            f"{root / names[0] / folder.name}."
        )


def _class_folders(walk: Walk, folders: Sequence[Path], min_classes: int) -> ImageDataset:
    found = _classes(walk, walk.root, folders, min_classes)
    _note_doubtful(walk, folders, found)
    files, labels = _listed(found, tuple(found))
    return _dataset(walk.root, tuple(found), files, labels, {})


def _note_doubtful(walk: Walk, folders: Sequence[Path], found: Classes) -> None:
    """Say which folders were taken for classes though they may be something else."""
    root = walk.root
    used = [folder for folder in folders if composed(folder.name) in found]
    inside = {folder: [composed(path.name) for path in walk.subfolders(folder)] for folder in used}
    deep = [folder.name for folder, names in inside.items() if len(names) > 1]
    same = [name for name in max(inside.values(), key=len) if all(name in inside[root / folder] for folder in deep)]
    if len(deep) > 1 and len(same) > 1:
        which = f"All {len(used)}" if len(deep) == len(used) else f"{len(deep)} of {len(used)}"
        note(
            f"{which} class folders of {root} hold the same folders: {listing(same)}. If these are the classes, give "
            f"the path of one of the folders above them."
        )
    elif plain := next((folder for folder in used if _is_plain_part(walk, folder)), None):
        note(f"{quoted(plain.name)} in {root} is taken for a class. If it is a part of a dataset, give its path.")


def _split_folders(walk: Walk, folders: Sequence[Path], given: Mapping[Role, Path], min_classes: int) -> ImageDataset:
    root = walk.root
    at_least = {"train": min_classes, "val": 1, "test": 0}
    found = {role: _classes(walk, folder, walk.folders(folder), at_least[role]) for role, folder in given.items()}
    class_names = tuple(found["train"])
    if unknown := [name for name in found["val"] if name not in class_names]:
        raise DataError(
            f"{given['val']} has {counted(len(unknown), 'class folder')} that {given['train']} has no images of: "
            f"{listing(unknown)}."
        )
    if absent := [name for name in class_names if name not in found["val"]]:
        classes_of = f"{counted(len(absent), 'class')} of {given['train']}"
        note(f"{classes_of} without an image in {given['val']}: {listing(absent)}.")
    if unknown := [name for name in found.get("test", {}) if name not in class_names]:
        images = sum(len(found["test"][name]) for name in unknown)
        note(
            f"{counted(len(unknown), 'class folder')} of {given['test']} that {given['train']} has no images of, left "
            f"out with {counted(images, 'image')}: {listing(unknown)}."
        )
    if others := [folder.name for folder in folders if folder not in given.values()]:
        note(f"{counted(len(others), 'folder')} of {root} beside its parts, left out: {listing(others)}.")
    files: list[str] = []
    labels: list[np.ndarray] = []
    indices = {role: np.empty(0, np.int64) for role in ("train", "val", "test")}
    for role, classes in found.items():
        part_files, part_labels = _listed(classes, class_names)
        indices[role] = np.arange(len(files), len(files) + len(part_files))
        files += part_files
        labels.append(part_labels)
    return _dataset(root, class_names, files, np.concatenate(labels), {GIVEN_SPLIT: Split(**indices)})


def _classes(walk: Walk, root: Path, folders: Sequence[Path], at_least: int) -> Classes:
    """The images of each class folder in ``root`` that has some, and ``at_least`` so many have."""
    left_out = len(walk.left_out)
    found: dict[str, list[str]] = {}
    empty = []
    for folder in folders:
        images = walk.names(folder)
        if images:
            found.setdefault(composed(folder.name), []).extend(images)
        elif not any(path.is_relative_to(folder) for path in list(walk.left_out)[left_out:]):
            empty.append(folder.name)
    if len(found) < at_least:
        raise DataError(_too_few_classes(walk, root, list(found), at_least))
    if empty := [name for name in empty if composed(name) not in found]:
        note(f"{counted(len(empty), 'class folder')} without an image in {root}, left out: {listing(empty)}.")
    for pair in alike(found):
        note(f"Classes in {root} whose names look alike are kept apart: {listing(pair)}.")
    return found


def _too_few_classes(walk: Walk, root: Path, found: Sequence[str], at_least: int) -> str:
    expected = f"Expected {at_least} or more class folders with {formats.listed()} images in {root}"
    if found:
        inner = _inner(walk, root / found[0]) if (root / found[0]).is_dir() else root
        deep = inner != root and len(walk.subfolders(inner)) >= at_least
        hint = f" If its folders are the classes, give its path: {inner}" if deep else ""
        has = f"there is only {quoted(found[0])}.{hint}"
    else:
        has = "it has none."
    return " ".join([f"{expected}; {has}", *walk.summary()])


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names that differ only in case, spaces, ligatures and characters that are not shown, in pairs."""
    first: dict[str, str] = {}
    looks = {name: "".join(filter(str.isprintable, normalize("NFKC", name))).casefold().split() for name in names}
    keys = {name: " ".join(words) for name, words in looks.items()}
    return [(first[key], name) for name, key in keys.items() if first.setdefault(key, name) != name]


def _listed(found: Classes, class_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The files and the labels of the classes in their order."""
    files = list(chain.from_iterable(found.get(name, ()) for name in class_names))
    return files, np.repeat(np.arange(len(class_names)), [len(found.get(name, ())) for name in class_names])


def _ids(names: Sequence[str]) -> Sequence[str]:
    """The paths of files with forward slashes, as text that can be kept."""
    if os.sep == "/" and all(map(str.isascii, names)):
        return names
    return [as_text(name.replace(os.sep, "/")) for name in names]


def _dataset(
    root: Path, class_names: tuple[str, ...], files: list[str], labels: np.ndarray, splits: dict[str, Split]
) -> ImageDataset:
    return ImageDataset(
        name=root.resolve().name,
        class_names=tuple(map(as_text, class_names)),
        ids=tuple(_ids(files)),
        labels=labels.astype(np.int64),
        images=PathsBelow(root, files),
        splits=splits,
        default_split=next(iter(splits), None),
        source=str(root.resolve()),
        image_size=None,
    )
