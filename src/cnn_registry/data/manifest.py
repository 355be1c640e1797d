"""A manifest: a table that names images wherever they lie, what they show, and how they may be split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.errors import DataError, UsageError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.progress import note
from cnn_registry.text import as_text, counted, listing, natural_key, quoted

from .dataset import MAX_FLAGS, ImageDataset, Split
from .folder import alike
from .label_columns import label_reader
from .manifest_rows import Entry, note_unused, read_entries, used_columns
from .parts import ROLES, Role
from .table import SUFFIXES, is_table, open_table

GIVEN_SPLIT = "manifest"
"""The name of the split that a ``split`` column makes."""


@dataclass(frozen=True)
class Manifest:
    """A manifest and the names of its columns, where ``data`` is expected: ``data=Manifest("photos.csv", ...)``.

    A column that is ``None`` has the usual name: ``path``, ``label`` or ``labels``, ``split``, ``group`` or ``weight``.
    The last three are optional. One that is named must be there. ``""`` ignores a column that has the usual name.

    Attributes:
        file: the table, ``.csv``, ``.tsv`` or ``.parquet``.
        path_column, label_column, labels_column, label_separator: as for `load_manifest`.
        class_columns, split_column, group_column, weight_column: as for `load_manifest`.
    """

    file: str | Path
    path_column: str | None = None
    label_column: str | None = None
    labels_column: str | None = None
    label_separator: str | None = None
    class_columns: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    weight_column: str | None = None

    def __str__(self) -> str:
        return str(self.file)

    @property
    def path(self) -> Path:
        """The table."""
        return Path(self.file)

    @property
    def columns(self) -> dict[str, str]:
        """The columns that were named, and the separator of labels, by their arguments."""
        return {name: value for name, value in asdict(self).items() if name != "file" and value is not None}

    def load(self, *, min_classes: int = 2) -> ImageDataset:
        """The images of the table; arguments, result and errors as for `load_manifest`."""
        return load_manifest(
            self.path,
            path_column=self.path_column,
            label_column=self.label_column,
            labels_column=self.labels_column,
            label_separator=self.label_separator,
            class_columns=self.class_columns,
            split_column=self.split_column,
            group_column=self.group_column,
            weight_column=self.weight_column,
            min_classes=min_classes,
        )


COLUMNS = tuple(item.name for item in fields(Manifest) if item.name != "file")
"""The arguments that name columns, and the separator of labels."""


def as_source(data: str | Path | Manifest | None, columns: Mapping[str, str] | None = None) -> Path | Manifest | None:
    """What was given as ``data``, as a path or a manifest.

    Args:
        data: a path, or a manifest with its columns.
        columns: of a manifest that is given as its path.

    Raises:
        UsageError: ``data`` is an empty string, which as a path would be the working directory.
    """
    if data == "":
        raise UsageError("data must name a folder, a table or an archive; got an empty string.")
    if data is None or isinstance(data, Manifest):
        return data
    path = Path(data)
    return Manifest(path, **columns) if columns and is_table(path) else path


def path_of(data: str | Path | Manifest) -> Path:
    """The file or folder that was given as ``data``."""
    return data.path if isinstance(data, Manifest) else Path(data)


def columns_of(data: str | Path | Manifest | None) -> dict[str, str]:
    """The columns that were named with ``data``."""
    return data.columns if isinstance(data, Manifest) else {}


def weights_digest(dataset: ImageDataset) -> str:
    """A digest of the weights of images; empty where they have none."""
    if dataset.weights is None:
        return ""
    return hashlib.sha256(np.asarray(dataset.weights).astype("<f4").tobytes()).hexdigest()


@checked_arguments
def load_manifest(
    file: str | Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    labels_column: str | None = None,
    label_separator: str | None = None,
    class_columns: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    weight_column: str | None = None,
    min_classes: int = 2,
    name: str | None = None,
    image_size: int | None = None,
) -> ImageDataset:
    """Find the images that a table names, one per row.

    The table is CSV or TSV in UTF-8, or Parquet, which needs pyarrow. Paths are relative to the folder of the table and
    may not leave it by ``..``; absolute ones are used, with a note. Classes are in natural order, images in that of the
    table. Rows without a path or a label, and repeated rows, are left out and counted in a note.

    An image has one label, in a column ``label``; or any number of them, in a column ``labels``, or in one column of 0
    and 1 for each class. Without ``label`` and ``labels``, all further columns are such columns.

    Args:
        file: the table.
        path_column: the column of the image files; default ``path``.
        label_column: the column of the classes; default ``label``.
        labels_column: the column of all classes that an image shows; default ``labels``, if there is no ``label``. An
            empty cell stands for none of them.
        label_separator: what separates labels in it; default the first of ``|``, ``;`` and ``,`` that occurs, with a
            note.
        class_columns: the columns of 0 and 1 that are named after classes, separated by commas.
        split_column: the column of the parts, ``train``, ``val`` and ``test`` or words that mean the same. Without
            ``val``, the validation images are drawn from those for training. Default ``split``, if there is one.
        group_column: the column of what must not be divided, such as the patient or the video of an image; see
            `make_split`. A row without a group is a group of its own. Default ``group``, if there is one.
        weight_column: the column of what an image's loss is multiplied by in training, 0 or more. Default ``weight``,
            if there is one.
        min_classes: the number of classes that must have images.
        name: the dataset's name; default that of the file without its suffix.
        image_size: edge length in pixels at which the images are used by default; ``None`` where they vary.

    Returns:
        Class names, and for each image a label, a stable ID and its file; splits, groups and weights, if the table has
        them.

    Raises:
        UsageError: an argument is not a name of a column, or two of them exclude each other.
        DataError: the table cannot be read, has no such column, names no file that is there, has too few classes, or
            gives one image two classes; a path leaves the folder; a split is unknown; a weight is not a number from 0.
        MissingPackageError: it is a Parquet file, and pyarrow is not installed.
    """
    file = Path(file)
    if not is_table(file):
        what = "a folder" if file.is_dir() else "not a table"
        raise UsageError(f"{file} is {what}; columns are those of a table ({', '.join(SUFFIXES)}).")
    table = open_table(file)
    given = [path_column, split_column, group_column, weight_column]
    columns = used_columns(table, given)
    reader = label_reader(table, set(columns), label_column, labels_column, label_separator, class_columns)
    note_unused(table, given, {*columns, *reader.columns})
    entries = read_entries(table, columns, reader)
    files = _files(file, list(entries))
    every = list(entries.values())
    class_names = _classes(file, every, min_classes, bool(columns.split))
    labels, known = _labels(file, every, class_names, multi_label=reader.several)
    made = ImageDataset(
        name=name or file.stem,
        class_names=tuple(map(as_text, class_names)),
        ids=tuple(map(as_text, entries)),
        labels=labels,
        images=tuple(files),
        splits=_splits(file, every) if columns.split else {},
        default_split=GIVEN_SPLIT if columns.split else None,
        source=str(file.resolve()),
        image_size=image_size,
        groups=_groups(file, every) if columns.group else None,
        weights=_weights(file, every) if columns.weight else None,
    )
    return made if known.all() else made.select(known)


def _files(file: Path, ids: Sequence[str]) -> list[Path]:
    """The files of images; those that are missing are left to whoever reads them, unless all are."""
    if not ids:
        raise DataError(f"{file} names no images.")
    folder = file.parent
    files = [folder / image_id for image_id in ids]
    if not any(path.exists() for path in files):
        raise DataError(
            f"None of the {counted(len(files), 'image')} of {file} is there, for example {quoted(str(files[0]))}. "
            f"Paths are relative to the folder of the table."
        )
    if outside := [image_id for image_id in ids if Path(image_id).is_absolute()]:
        note(
            f"{counted(len(outside), 'absolute path')} in {file}, which other machines do not have, for example "
            f"{quoted(outside[0])}."
        )
    return files


def _classes(file: Path, entries: Sequence[Entry], min_classes: int, given: bool) -> list[str]:
    """The classes in natural order: those of the training images where the table has a split."""
    trained = {label for entry in entries if entry.split in ("train", "") for label in entry.labels}
    found = sorted(trained, key=lambda label: (natural_key(label), label))
    if len(found) < min_classes:
        has = f"only {quoted(found[0])}" if found else "none"
        raise DataError(
            f"Expected {min_classes} or more classes {'with training images ' if given else ''}in {file}; it has {has}."
        )
    for role in ("val", "test"):
        unknown = sorted({label for entry in entries if entry.split == role for label in entry.labels} - trained)
        if unknown and role == "val":
            raise DataError(
                f"{file} has {counted(len(unknown), 'class')} for validation that it has no training images of: "
                f"{listing(unknown)}."
            )
        if unknown:
            images = sum(not trained.issuperset(entry.labels) for entry in entries)
            note(
                f"{counted(images, 'test image')} of {file} left out, of {counted(len(unknown), 'class')} without a "
                f"training image: {listing(unknown)}."
            )
    for pair in alike(found):
        note(f"Classes in {file} whose names look alike are kept apart: {listing(pair)}.")
    return found


def _labels(
    file: Path, entries: Sequence[Entry], class_names: Sequence[str], *, multi_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of images as an `ImageDataset` has them, and whether they are of these classes."""
    if multi_label and len(entries) * len(class_names) > MAX_FLAGS:
        raise DataError(
            f"{file} has {len(entries):,} images of {len(class_names):,} classes; where images show several, expected "
            f"at most {MAX_FLAGS:,} pairs."
        )
    position = {label: index for index, label in enumerate(class_names)}
    known = np.array([all(label in position for label in entry.labels) for entry in entries])
    if not multi_label:
        return np.array([position.get(entry.labels[0], -1) for entry in entries], np.int64), known
    labels = np.zeros((len(entries), len(class_names)), np.int8)
    for row, entry in zip(labels, entries, strict=True):
        row[[position[label] for label in entry.labels if label in position]] = 1
    return labels, known


def _splits(file: Path, entries: Sequence[Entry]) -> dict[str, Split]:
    roles = np.array([entry.split for entry in entries])
    parts: dict[Role, Any] = {role: np.flatnonzero(roles == role).astype(np.int64) for role in ROLES}
    if not len(parts["train"]):
        raise DataError(f"{file} has no row with the split train.")
    if not len(parts["val"]):
        note(f"{file} has no row with the split val: validation images are drawn from those for training.")
    return {GIVEN_SPLIT: Split(**parts)}


def _groups(file: Path, entries: Sequence[Entry]) -> np.ndarray:
    """A number for each group; rows without one have a number of their own."""
    numbers: dict[str, int] = {}
    alone = sum(not entry.group for entry in entries)
    if alone:
        note(f"{counted(alone, 'row')} of {file} without a group: each is a group of its own.")

    def keys() -> Iterator[str]:
        for entry in entries:
            yield entry.group or f"\0{entry.line}"

    return np.array([numbers.setdefault(key, len(numbers)) for key in keys()], np.int64)


def _weights(file: Path, entries: Sequence[Entry]) -> np.ndarray:
    weights = np.array([entry.weight for entry in entries], np.float32)
    if not weights[[entry.split in ("train", "") for entry in entries]].any():
        raise DataError(f"All training images of {file} have the weight 0.")
    return weights
