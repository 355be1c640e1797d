"""The rows of a manifest: which columns are used, and what each row says of its image."""

from __future__ import annotations

import math
import os
import posixpath
from collections.abc import Collection, Sequence
from pathlib import PureWindowsPath
from typing import Any, NamedTuple

from cnn_registry.errors import DataError
from cnn_registry.system.progress import note
from cnn_registry.text import counted, listing, quoted

from .dataset import MAX_WEIGHT
from .label_columns import LabelReader
from .parts import part
from .table import Table, column

MAX_LABEL = 1_000
"""Characters of a class's name."""

IGNORED = ""
"""The name of a column that is not used, though the table may have one of the usual name."""


class ColumnNames(NamedTuple):
    """The columns of a table that are used; an empty string stands for none."""

    path: str
    split: str
    group: str
    weight: str


class Entry(NamedTuple):
    """One row of a manifest."""

    line: int
    labels: tuple[str, ...]
    split: str
    group: str
    weight: float


def used_columns(table: Table, given: Sequence[str | None]) -> ColumnNames:
    """The columns besides labels: those that were named, which must be there, and others by their usual names."""
    found = []
    for usual, name in zip(ColumnNames._fields, given, strict=True):
        if name == IGNORED and usual != "path":
            found.append("")
        elif name or usual == "path":
            found.append(column(table, name or usual, f"--{usual}-column"))
        else:
            found.append(usual if usual in table.header else "")
    return ColumnNames(*found)


def note_unused(table: Table, given: Sequence[str | None], used: Collection[str]) -> None:
    """Print a note of each column that is not ``used``, and whose name is a usual one in other capital letters."""
    for usual, name in zip(ColumnNames._fields, given, strict=True):
        for other in table.header:
            if name is None and other.lower() == usual and other not in used:
                note(f"The column {quoted(other)} of {table.file} is not used. To use it: --{usual}-column {other}")


def read_entries(table: Table, columns: ColumnNames, reader: LabelReader) -> dict[str, Entry]:
    """The rows that are used, by the ids of their images."""
    used = [*filter(None, columns), *reader.columns]
    roles: dict[str, str] = {"": ""}
    found: dict[str, Entry] = {}
    without, repeated = 0, 0
    for line, cells in table.rows(used):
        cell = dict(zip(used, cells, strict=True))
        where = f"{table.file}, line {line}"
        path, labels = cell[columns.path], reader.read([cell[name] for name in reader.columns], where)
        if not path or labels is None:
            without += 1
            continue
        if any(len(label) > MAX_LABEL for label in labels):
            raise DataError(f"{where}: the name of a class has more than {MAX_LABEL:,} characters.")
        split = _role(roles, cell[columns.split], where) if columns.split else ""
        weight = _weight(cell[columns.weight], table.decimal, where) if columns.weight else 1.0
        entry = Entry(line, labels, split, cell[columns.group] if columns.group else "", weight)
        if (first := found.setdefault(_image_id(path, where), entry)) is not entry:
            repeated += 1
            _refuse_contradiction(table, path, first, entry)
    if without:
        note(f"{counted(without, 'row')} of {table.file} without a path or a label left out.")
    if repeated:
        note(f"{counted(repeated, 'row')} of {table.file} left out, as an earlier row says the same.")
    return found


def _refuse_contradiction(table: Table, path: str, first: Entry, second: Entry) -> None:
    for what, one, other in zip(Entry._fields[1:], first[1:], second[1:], strict=True):
        if one != other:
            raise DataError(
                f"{table.file} says two things of {quoted(path)}: {what} {_shown(one)} in line {first.line} and "
                f"{_shown(other)} in line {second.line}. Remove one of the rows."
            )


def _shown(value: Any) -> str:
    return listing(value) or "none" if isinstance(value, tuple) else quoted(value)


def _image_id(path: str, where: str) -> str:
    """A path as the id of its image: relative to the table's folder where it is not absolute, with forward slashes.

    Raises:
        DataError: it leaves the folder, or is not a path.
    """
    if "\0" in path:
        raise DataError(f"{where}: a path with a null character.")
    if "\\" in path and os.sep == "/":
        path = PureWindowsPath(path).as_posix()
    normal = posixpath.normpath(path.replace(os.sep, "/"))
    if normal == ".." or normal.startswith("../"):
        raise DataError(
            f"{where}: {quoted(path)} leaves the folder of the table. Move the table to where its images are, or write "
            f"absolute paths."
        )
    return normal


def _role(roles: dict[str, str], text: str, where: str) -> str:
    """The part that a cell names; ``roles`` are those of the cells before."""
    if text not in roles:
        meant = part(text)
        roles[text] = meant.role if meant and not meant.rest else ""
    if not (role := roles[text]):
        raise DataError(
            f"{where}: expected the split train, val or test; got {quoted(text)}. To ignore it: --split-column ''"
        )
    return role


def _weight(text: str, decimal: str, where: str) -> float:
    try:
        weight = float(text.replace(decimal, "."))
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= MAX_WEIGHT:
        raise DataError(f"{where}: expected a weight from 0 to {MAX_WEIGHT:.2g}; got {quoted(text)}.")
    return weight
