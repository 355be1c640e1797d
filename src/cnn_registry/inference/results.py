"""Results in files: one row a picture, written while they come, so that a stopped job can be resumed."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from cnn_registry.errors import DataError, UsageError
from cnn_registry.system.extras import need_arrow
from cnn_registry.system.files import is_own_file
from cnn_registry.text import as_text, printable

from .pictures import Picture
from .predict import Prediction

BLOCK = 10_000
"""Rows that are held in memory while another format is made of them."""

BEGINNING = b'{"path": '
"""How each line of JSON begins."""

LONGEST = 2**24
"""Bytes of the longest line that is read."""

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*")


def header(top: int, *, several: bool = False) -> list[str]:
    """The columns of a table of predictions: path, the most probable class, the next ones, and why there is none.

    Where a picture may show ``several`` classes, there is one more, of those that reach their thresholds.
    """
    further = (name for rank in range(2, top + 1) for name in (f"class_{rank}", f"probability_{rank}"))
    return ["path", "class", "probability", *further, *(["labels"] if several else []), "error"]


def csv_line(cells: Iterable[str]) -> str:
    """One line of CSV. What a terminal obeys, a line break included, is written as an escape."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(printable(cell) for cell in cells)
    return text.getvalue()


def csv_row(prediction: Prediction, top: int) -> str:
    """A prediction as a line of CSV with the columns of `header`; several labels are separated by ``|``.

    Spreadsheets run cells that begin with ``=``, ``+``, ``-`` or ``@``. Such a path gets ``./`` before it, which names
    the same file; such a class that is not a number gets an apostrophe, which spreadsheets do not show.
    """
    pairs = [cell for name, p in prediction for cell in (_harmless(name), f"{p:.6g}")]
    labels = [] if prediction.labels is None else [_harmless("|".join(prediction.labels))]
    return csv_line([csv_path(prediction.image), *pairs, *[""] * (2 * top - len(pairs)), *labels, prediction.reason])


def csv_path(name: Path | str | None) -> str:
    """How `csv_row` writes the name of a picture."""
    text = printable(str(name))
    return f"./{text}" if _FORMULA.match(text) and text != "-" else text


def _harmless(name: str) -> str:
    return f"'{name}" if _FORMULA.match(name) and not _NUMBER.fullmatch(name) else name


def json_row(prediction: Prediction) -> str:
    """A prediction as one line of JSON. Bytes of a name that are not UTF-8 are ``\\udcXX``, as Python has them."""
    pairs = [{"class": name, "probability": p} for name, p in prediction]
    best: dict[str, Any] = pairs[0] if pairs else {"class": None, "probability": None}
    row = {"path": str(prediction.image)} | best | {"top": pairs}
    if prediction.labels is not None:
        row["labels"] = list(prediction.labels)
    return json.dumps(row | ({"error": prediction.reason} if prediction.reason else {}))


class LineFile:
    """A text file to which lines are added; each line is whole, whatever ends the process.

    Args:
        path: the file.
        first: its first line, or an empty string.
        resume: continue a file that is there; otherwise it is refused. A last line that was cut is removed when lines
            are added, or by `cut`; until then the file stays as it is.

    Raises:
        UsageError: it is there, has another first line, or holds something else than lines.
        DataError: it cannot be written.
    """

    def __init__(self, path: Path, first: str = "", *, resume: bool = False) -> None:
        self.path = path
        if os.path.lexists(path) and not resume:
            raise UsageError(f"{path} already exists. Use --resume to continue it, or name another file.")
        if os.path.lexists(path) and not is_own_file(path):
            raise UsageError(f"{path} is not a regular file; name another.")
        try:
            self._file = path.open("r+b" if path.exists() else "x+b")
            self._end, rest = _last_line(self._file)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
        self._first = first.encode()
        if fault := self._fault(rest):
            self.close()
            raise UsageError(f"{path} {fault}")
        if not self._end:
            self.write([first] if first else [])

    def _fault(self, rest: bytes | None) -> str:
        """Why the file cannot be continued, or an empty string."""
        if rest is None:
            return f"ends in a line of more than {LONGEST:,} bytes. Name another file."
        self._file.seek(0)
        if self._end and self._first and self._file.readline(len(self._first) + 1).rstrip(b"\n") != self._first:
            return "has other columns, or was begun with other options. Resume with the same, or name another file."
        if self._first:
            is_ours = bool(self._end) or self._first.startswith(rest)
        else:
            is_ours = rest.startswith(BEGINNING) or BEGINNING.startswith(rest)
        return "" if is_ours else "does not end in a line of results. Name another file."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, lines: Iterable[str]) -> None:
        """Add lines, and hand them to the system.

        Raises:
            DataError: the disk is full, for instance.
        """
        self.cut()
        try:
            self._file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            self._file.flush()
            self._end = self._file.tell()
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def cut(self) -> None:
        """Remove a last line that was cut.

        Raises:
            DataError: that cannot be done.
        """
        try:
            if self._file.seek(0, os.SEEK_END) > self._end:
                self._file.truncate(self._end)
            self._file.seek(self._end)
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def read(self) -> Iterator[str]:
        """The whole lines after the first one that was asked for.

        Raises:
            ValueError: a line is too long, or is not text.
        """
        with self.path.open("rb") as file:
            if self._first:
                file.readline()
            while file.tell() < self._end:
                line = file.readline(LONGEST)
                if not line.endswith(b"\n"):
                    raise ValueError(f"it has a line of more than {LONGEST:,} bytes")
                yield line[:-1].decode()


def _last_line(file: BinaryIO) -> tuple[int, bytes | None]:
    """Where the last whole line ends, and the beginning of what follows it; ``None`` where that is too long."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        if size - end >= LONGEST:
            return end, None
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    file.seek(end)
    return end, file.read(min(size - end, 65536))


class Done:
    """Which pictures have a result already: eight bytes for each.

    Args:
        names: their names, as they were written; one that was written twice counts twice.
    """

    def __init__(self, names: Iterable[str]) -> None:
        digests = np.fromiter((_digest(name) for name in names), np.uint64)
        self._digests, self._left = np.unique(digests, return_counts=True)
        self.count = len(digests)

    def remaining(self, pictures: Iterable[Picture], written: Callable[[Path | str | None], str]) -> Iterator[Picture]:
        """The pictures that have no result yet.

        Args:
            pictures: all of them, in any order.
            written: how a name was written.
        """
        return (picture for picture in pictures if not self._take(written(picture.name)))

    def _take(self, name: str) -> bool:
        digest = _digest(name)
        place = int(np.searchsorted(self._digests, digest))
        if place == len(self._digests) or self._digests[place] != digest or not self._left[place]:
            return False
        self._left[place] -= 1
        return True


def _digest(name: str) -> np.uint64:
    return np.uint64(
        int.from_bytes(hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")
    )


def csv_done(lines: Iterable[str], columns: Sequence[str], class_names: Collection[str] | None = None) -> Iterator[str]:
    """The paths in lines of `csv_row`.

    Args:
        lines: after the header.
        columns: that there are, from `header`.
        class_names: which there can be; default any.

    Raises:
        ValueError: a line is something else.
    """
    known = None if class_names is None else {printable(_harmless(name)) for name in class_names}
    for number, line in enumerate(lines, start=2):
        try:
            rows = list(csv.reader([line], strict=True))
        except csv.Error as error:
            raise ValueError(f"line {number} is not CSV") from error
        if len(rows) != 1 or len(rows[0]) != len(columns):
            raise ValueError(f"line {number} does not have {len(columns)} columns")
        _check_class(rows[0][1] or None, known, number)
        yield rows[0][0]


def json_done(lines: Iterable[str], class_names: Collection[str] | None = None) -> Iterator[str]:
    """The paths in lines of `json_row`.

    Args:
        lines: the lines.
        class_names: which there can be; default any.

    Raises:
        ValueError: a line is something else.
    """
    for number, row in enumerate(_predicted(lines), start=1):
        _check_class(row.get("class"), class_names, number)
        yield row["path"]


def features_done(lines: Iterable[str]) -> Iterator[str]:
    """The paths in lines of `feature_row`.

    Raises:
        ValueError: a line is something else, or has a feature of another length.
    """
    return (path for path, _, _ in _features(lines))


def _check_class(name: object, known: Collection[str] | None, number: int) -> None:
    if name is not None and known is not None and name not in known:
        raise ValueError(f"line {number} has the class {printable(str(name))!r}, which this model does not have")


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Lines of JSON with their numbers; each is an object with a path, and perhaps an error."""
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not JSON") from error
        if not isinstance(row, dict) or not isinstance(row.get("path"), str):
            raise ValueError(f"line {number} has no path")
        if not isinstance(row.get("error", ""), str):
            raise ValueError(f"line {number} has an error that is not text")
        yield number, row


def _predicted(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Lines of `json_row` as they were before."""
    for number, row in _rows(lines):
        top, labels = row.get("top"), row.get("labels", [])
        is_whole = isinstance(top, list) and all(map(_is_pair, top)) and _is_class(row.get("class"))
        if not is_whole or not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"line {number} is not a prediction")
        yield row


def _is_pair(pair: object) -> bool:
    known = isinstance(pair, dict) and isinstance(pair.get("class"), str)
    return known and isinstance(pair.get("probability"), int | float)  # type: ignore[attr-defined]  # it is a dict


def _is_class(name: object) -> bool:
    return name is None or isinstance(name, str)


def _features(lines: Iterable[str]) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Lines of `feature_row` as path, feature and error. All features have the same length."""
    length = 0
    for number, row in _rows(lines):
        if "error" in row:
            yield row["path"], None, row["error"]
            continue
        try:
            feature = feature_of(row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {number} has no feature") from error
        length = length or len(feature)
        if len(feature) != length or not length:
            raise ValueError(f"line {number} has a feature of {len(feature)} numbers, where others have {length}")
        yield row["path"], feature, ""


def parquet_of_predictions(lines: Iterable[str], top: int, target: Path, *, several: bool = False) -> None:
    """Write lines of `json_row` as a Parquet file with the columns of `header`.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    arrow, _ = need_arrow()
    names = header(top, several=several)
    kinds = [arrow.float64() if name.startswith("probability") else arrow.string() for name in names]
    if several:
        kinds[names.index("labels")] = arrow.list_(arrow.string())

    def cells(row: dict[str, Any]) -> list[Any]:
        pairs = [cell for pair in row["top"][:top] for cell in (pair["class"], pair["probability"])]
        labels = [row.get("labels")] if several else []
        return [as_text(row["path"]), *pairs, *[None] * (2 * top - len(pairs)), *labels, row.get("error")]

    write_parquet(target, arrow.schema(list(zip(names, kinds, strict=True))), map(cells, _predicted(lines)))


def write_parquet(target: Path, schema: Any, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as a Parquet file, `BLOCK` of them at a time."""
    arrow, parquet = need_arrow()
    remaining = iter(rows)
    with parquet.ParquetWriter(target, schema) as writer:
        while block := list(islice(remaining, BLOCK)):
            columns = [list(column) for column in zip(*block, strict=True)]
            arrays = [arrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def write_npz(lines: Iterable[str], target: Path) -> None:
    """Write lines of features as an ``.npz`` file; only one array at a time passes through memory, in parts.

    Args:
        lines: of `feature_row`.
        target: the file. It gets ``features``, float32 ``(N, C)``, and their ``paths``; ``bad_paths`` and
            ``bad_reasons`` name the pictures that could not be read.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        raw = Path(folder) / "features"
        paths: list[bytes] = []
        bad: list[tuple[str, str]] = []
        with raw.open("wb") as file:
            for path, feature, error in _features(lines):
                if feature is None:
                    bad.append((as_text(path), error))
                else:
                    file.write(feature.tobytes())
                    paths.append(as_text(path).encode())
        count = len(paths)
        features: Any = np.empty((0, 0), np.float32)
        if count:
            features = np.memmap(raw, np.float32, "r").reshape(count, -1)
        np.savez(
            target,
            features=features,
            paths=np.array([path.decode() for path in paths], np.str_),
            bad_paths=np.array([path for path, _ in bad], np.str_),
            bad_reasons=np.array([reason for _, reason in bad], np.str_),
        )
        del features


def feature_row(name: Path | str | None, feature: np.ndarray | None, reason: str = "") -> str:
    """The feature of a picture as one line of JSON."""
    if feature is None:
        return json.dumps({"path": str(name), "error": reason})
    return json.dumps({"path": str(name), "feature": base64.b64encode(feature.astype("<f4").tobytes()).decode()})


def feature_of(row: dict[str, Any]) -> np.ndarray:
    """The feature in a row of `feature_row`, float32 ``(C,)``.

    Raises:
        KeyError, TypeError, ValueError: there is none.
    """
    return np.frombuffer(base64.b64decode(row["feature"], validate=True), "<f4")


def parquet_of_features(lines: Iterable[str], target: Path) -> None:
    """Write lines of `feature_row` as a Parquet file with the columns path, feature and error.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    arrow, _ = need_arrow()
    schema = arrow.schema(
        [("path", arrow.string()), ("feature", arrow.list_(arrow.float32())), ("error", arrow.string())]
    )

    rows = ([as_text(path), feature, error or None] for path, feature, error in _features(lines))
    write_parquet(target, schema, rows)
