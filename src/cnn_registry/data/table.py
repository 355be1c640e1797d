"""Read a table, row by row: CSV, TSV and Parquet. The file may be anyone's, so everything has a bound.

Cells are text, as they stand in the file: ``007`` stays ``007``, and a class may be called ``NA`` or ``None``.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, Protocol

from cnn_registry.errors import DataError
from cnn_registry.system.extras import need_arrow
from cnn_registry.system.progress import note
from cnn_registry.text import listing, one_line, quoted, suggestion

SUFFIXES = (".csv", ".tsv", ".parquet")

MAX_LINE = 2**20
"""Bytes of a line of text."""

MAX_ROWS = 2**22
"""Rows of a table; the record of a run holds fewer images."""

MAX_CELL = 2**16
"""Bytes of a text in a Parquet file, which stores a text once, however many rows have it."""

MAX_VALUES = 2**24
"""Values of a column of a Parquet file, whose rows may be lists."""

MAX_UNPACKED = 2**32
"""Bytes of the columns of a Parquet file that are read, without compression."""

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[int, Sequence[str]]
"""The number of a row, counted as an editor counts lines, and its cells."""


class Table(Protocol):
    """A table in a file.

    Attributes:
        file: where it is.
        header: the names of its columns, each once.
        decimal: what separates the fraction of a number.
    """

    file: Path
    header: tuple[str, ...]
    decimal: str

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, with the cells of ``columns`` in that order.

        Raises:
            DataError: the file is damaged, or larger than the bounds.
        """
        ...


def is_table(path: Path) -> bool:
    """Whether a path has the suffix of a table."""
    return path.suffix.lower() in SUFFIXES


def open_table(file: Path) -> Table:
    """The table in a file, of which only the header has been read.

    Raises:
        DataError: there is no such file, it is not a table, or it cannot be read.
        MissingPackageError: it is a Parquet file, and pyarrow is not installed.
    """
    try:
        if not S_ISREG(file.stat().st_mode):
            what = "a folder" if file.is_dir() else "not a regular file"
            raise DataError(f"{file} is {what}; expected a table ({', '.join(SUFFIXES)}).")
        table: Table = ParquetTable(file) if file.suffix.lower() == ".parquet" else TextTable(file)
    except FileNotFoundError:
        raise DataError(f"There is no file {file}; expected a table of images.") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    if twice := [name for name, count in Counter(table.header).items() if count > 1]:
        raise DataError(f"{file} has several columns {listing(twice)}; rename all but one.")
    return table


def column(table: Table, name: str, option: str) -> str:
    """``name``, if the table has a column of that name.

    Raises:
        DataError: it has none; the message names ``option``, which names another.
    """
    if name in table.header:
        return name
    hint = suggestion(name, table.header)
    raise DataError(
        f"{table.file} has no column {quoted(name)}.{hint} It has: {listing(table.header)}. Name the column with "
        f"{option}."
    )


class TextTable:
    """A table of text in UTF-8, whose columns are separated by commas, semicolons or tabs.

    Args:
        file: a regular file.

    Raises:
        DataError: it has no header, or is not UTF-8.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._line = 0
        with file.open("rb") as stream:
            start = stream.read(2)
            stream.seek(0)
            if start in _UTF_16:
                raise DataError(f"{file} is UTF-16; save it as UTF-8, which spreadsheets call 'CSV UTF-8'.")
            first = next(self._lines(stream), "")
        headers = {separator: self._cells(first, separator) for separator in _SEPARATORS}
        self._separator = max(headers, key=lambda separator: len(headers[separator]))
        self.header = tuple(headers[self._separator])
        self.decimal = "," if self._separator == ";" else "."
        if not any(self.header):
            raise DataError(f"{file} has no header: its first line must name the columns.")
        if self._separator != ("\t" if file.suffix.lower() == ".tsv" else ","):
            note(f"The columns of {file} are separated by {_SEPARATORS[self._separator]}.")

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """As `Table.rows`."""
        position = {name: place for place, name in enumerate(self.header)}
        places, width = [position[name] for name in columns], len(self.header)
        number = 0
        with self.file.open("rb") as stream:
            try:
                reader = csv.reader(self._lines(stream), delimiter=self._separator, skipinitialspace=True, strict=True)
                next(reader)
                for number, cells in enumerate(reader, start=1):
                    if not any(cells):
                        continue
                    if len(cells) < width or any(cells[width:]):
                        raise DataError(
                            f"{self.file}, line {self._line}: {len(cells)} cells where the header names {width} "
                            f"columns. A cell with a {_SEPARATORS[self._separator].removesuffix('s')} needs quotes."
                        )
                    if number > MAX_ROWS:
                        raise DataError(f"{self.file} has more than {MAX_ROWS:,} rows.")
                    yield self._line, [cells[place].strip() for place in places]
            except csv.Error as error:
                raise self._refused(error) from error
            except OSError as error:
                raise DataError(f"{self.file} cannot be read: {error.strerror or error}.") from error

    def _lines(self, stream: BinaryIO) -> Iterator[str]:
        self._line = 0
        while line := stream.readline(MAX_LINE + 1):
            self._line += 1
            if len(line) > MAX_LINE:
                raise DataError(f"{self.file}, line {self._line}: more than {MAX_LINE:,} bytes; it is not a table.")
            try:
                yield line.decode("utf-8-sig" if self._line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.file}, line {self._line}: not UTF-8 (byte 0x{line[error.start]:02x}). Save it as UTF-8, "
                    f"which spreadsheets call 'CSV UTF-8'."
                ) from error

    def _refused(self, error: csv.Error) -> DataError:
        why = str(error)
        if _is_of_line_ends(error):
            why = "a carriage return within a line. Save it with the line ends of Unix or of Windows"
        return DataError(f"{self.file}, line {self._line}: {why}.")

    def _cells(self, line: str, separator: str) -> list[str]:
        """The names in a header; none where it would be one very long name, as with the wrong separator."""
        try:
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        except csv.Error as error:
            if _is_of_line_ends(error):
                raise self._refused(error) from error
            return []
        while cells and not cells[-1].strip():
            cells.pop()
        return [cell.strip() for cell in cells]


def _is_of_line_ends(error: csv.Error) -> bool:
    return str(error).startswith("new-line")


class ParquetTable:
    """A table in a Parquet file.

    Args:
        file: a regular file.

    Raises:
        DataError: it is damaged.
        MissingPackageError: pyarrow is not installed.
    """

    decimal = "."

    def __init__(self, file: Path) -> None:
        self.file = file
        self._arrow, self._reader = need_arrow()
        with self._errors("is not a Parquet file that can be read"):
            self._facts = self._reader.read_metadata(file)
            self.header = tuple(self._facts.schema.to_arrow_schema().names)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """As `Table.rows`; the cells of a list are separated by tabs."""
        used = self._checked(columns)
        number = 1
        with self._errors("is damaged"):
            # Texts that repeat stay references to one copy until their length is known.
            texts = [part.path_in_schema for part in used if part.physical_type == "BYTE_ARRAY"]
            table = self._reader.ParquetFile(self.file, metadata=self._facts, read_dictionary=texts)
            for batch in table.iter_batches(batch_size=1024, columns=list(columns)):
                for name in columns:
                    self._check_cells(name, batch.column(name))
                read = [[self._text(name, value) for value in batch.column(name).to_pylist()] for name in columns]
                for cells in zip(*read, strict=True):
                    number += 1
                    yield number, cells

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Whatever Arrow and Python raise for values that they do not take, as one line.

        Raises:
            DataError: they raised something.
        """
        try:
            yield
        except (self._arrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise DataError(f"{self.file} {what}: {one_line(error)}.") from error

    def _checked(self, columns: Sequence[str]) -> list[Any]:
        """The parts of the columns, one per row group.

        Raises:
            DataError: they are larger than the bounds.
        """
        facts = self._facts
        if facts.num_rows > MAX_ROWS:
            raise DataError(f"{self.file} has more than {MAX_ROWS:,} rows.")
        groups = (facts.row_group(group) for group in range(facts.num_row_groups))
        every = (group.column(place) for group in groups for place in range(group.num_columns))
        below = tuple(f"{name}." for name in columns)  # where the values of lists are
        used = [part for part in every if part.path_in_schema in columns or part.path_in_schema.startswith(below)]
        size = sum(part.total_uncompressed_size for part in used)
        if size > MAX_UNPACKED:
            raise DataError(f"{self.file} unpacks to {size / 1e9:,.1f} GB, more than {MAX_UNPACKED / 1e9:,.1f} GB.")
        if sum(part.num_values for part in used) > MAX_VALUES * len(columns):
            raise DataError(f"{self.file} has more than {MAX_VALUES:,} values in a column.")
        return used

    def _check_cells(self, name: str, cells: Any) -> None:
        """Refuse bytes, and texts that are too long, before there is one for each row."""
        import pyarrow.compute

        types = self._arrow.types
        while types.is_list(cells.type) or types.is_large_list(cells.type) or types.is_fixed_size_list(cells.type):
            cells = cells.values
        if types.is_dictionary(cells.type):
            cells = cells.dictionary
        if any(is_one(cells.type) for is_one in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)):
            raise DataError(f"{self.file}: the column {quoted(name)} holds bytes, expected text or numbers.")
        if not types.is_string(cells.type) and not types.is_large_string(cells.type):
            return
        longest = pyarrow.compute.max(pyarrow.compute.binary_length(cells)).as_py() or 0
        if longest > MAX_CELL:
            raise DataError(f"{self.file}: the column {quoted(name)} has a cell of more than {MAX_CELL:,} bytes.")

    def _text(self, name: str, value: Any) -> str:
        if value is None or value != value:  # NaN stands for nothing
            return ""
        if isinstance(value, bool):
            return str(int(value))
        if isinstance(value, float) and value.is_integer():  # pandas makes floats of integers with gaps
            return str(int(value))
        if isinstance(value, str | int | float):
            return str(value).strip()
        if isinstance(value, list):
            return "\t".join(filter(None, (self._text(name, item) for item in value)))
        raise DataError(
            f"{self.file}: the column {quoted(name)} holds {type(value).__name__}, expected text or numbers."
        )
