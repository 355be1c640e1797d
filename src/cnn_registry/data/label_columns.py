"""The columns of a table that say what its images show: one class, several in a cell, or a column for each class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from cnn_registry.errors import DataError, UsageError
from cnn_registry.system.progress import note
from cnn_registry.text import listing, quoted

from .parts import composed
from .table import Table, column

LABEL, LABELS = "label", "labels"
"""The usual names of the column of one class, and of that of several."""

SEPARATORS = ("|", ";", ",")
"""What separates the labels in a cell, in the order in which it is looked for."""

LISTED = "\t"
"""What separates them where the table has lists in its cells."""

_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")


class LabelReader(Protocol):
    """Reads the labels of a row.

    Attributes:
        columns: the columns that it reads.
        several: whether an image may show several classes.
    """

    columns: tuple[str, ...]
    several: bool

    def read(self, cells: Sequence[str], where: str) -> tuple[str, ...] | None:
        """The classes that an image shows, in order; ``None`` where its row does not say.

        Args:
            cells: of ``columns``.
            where: the row, for messages.

        Raises:
            DataError: a cell is not what the column is for.
        """
        ...


def label_reader(
    table: Table,
    others: Collection[str],
    label: str | None,
    labels: str | None,
    separator: str | None,
    classes: str | None,
) -> LabelReader:
    """The reader of a table's labels.

    Args:
        table: whose header is known.
        others: the columns that are something else.
        label, labels, separator, classes: as for `load_manifest`.

    Raises:
        DataError: the table has no such columns.
        UsageError: two kinds of columns are named.
    """
    named = [name for name, value in (("label", label), ("labels", labels), ("class", classes)) if value]
    if len(named) > 1:
        raise UsageError(f"Labels are in one kind of column; got {listing(named)}. Name one.")
    if classes:
        return OneColumnEach(tuple(column(table, name.strip(), "--class-columns") for name in classes.split(",")))
    if labels or (not label and LABEL not in table.header and LABELS in table.header):
        return SeveralLabels(table, column(table, labels or LABELS, "--labels-column"), separator)
    if label or LABEL in table.header:
        return OneLabel(column(table, label or LABEL, "--label-column"))
    free = tuple(name for name in table.header if name and name not in others)
    flags = _flags(table, free) if len(free) > 1 else ()
    if len(flags) > 1 and flags == free:
        return OneColumnEach(free)
    several = ", or those of 0 and 1, one for each class, with --class-columns" if len(flags) > 1 else ""
    return OneLabel(column(table, LABEL, f"--label-column{several}"))


def _flags(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``columns`` that have 0 or 1 in the first row."""
    _, cells = next(iter(table.rows(columns)), (0, [""] * len(columns)))
    return tuple(name for name, cell in zip(columns, cells, strict=True) if cell.lower() in (*_YES, *_NO))


class OneLabel:
    """One class in a column."""

    several = False

    def __init__(self, name: str) -> None:
        self.columns: tuple[str, ...] = (name,)

    def read(self, cells: Sequence[str], where: str) -> tuple[str, ...] | None:
        """As `LabelReader.read`."""
        return (composed(cells[0]),) if cells[0] else None


class SeveralLabels:
    """Any number of classes in one column."""

    several = True

    def __init__(self, table: Table, name: str, separator: str | None) -> None:
        self.columns: tuple[str, ...] = (name,)
        self._separator = separator or _found_separator(table, name)

    def read(self, cells: Sequence[str], where: str) -> tuple[str, ...] | None:
        """As `LabelReader.read`; an empty cell stands for none of the classes."""
        names = cells[0].split(self._separator) if self._separator else cells
        return tuple(sorted({composed(name.strip()) for name in names} - {""}))


def _found_separator(table: Table, name: str) -> str:
    """The separator of the labels in a column; empty where no cell has one."""
    seen: set[str] = set()
    for _, [cell] in table.rows([name]):
        seen.update(mark for mark in (LISTED, *SEPARATORS) if mark in cell)
    if LISTED in seen:
        return LISTED
    found = next((mark for mark in SEPARATORS if mark in seen), "")
    if found:
        note(
            f"Labels in {table.file} are separated by {quoted(found)}; another separator is named with "
            f"--label-separator."
        )
    return found


class OneColumnEach:
    """A column of 0 and 1 for each class."""

    several = True

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._names = tuple(map(composed, columns))

    def read(self, cells: Sequence[str], where: str) -> tuple[str, ...] | None:
        """As `LabelReader.read`."""
        shown = []
        for name, cell in zip(self._names, cells, strict=True):
            if (value := cell.lower()) in _YES:
                shown.append(name)
            elif value not in _NO:
                raise DataError(
                    f"{where}: expected 0 or 1 in the column {quoted(name)} of a class; got {quoted(cell)}."
                )
        return tuple(sorted(shown))
