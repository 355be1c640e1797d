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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from cnn_registry.errors import DataError, UsageError
from cnn_registry.system.extras import need_arrow
from cnn_registry.system.files import is_own_file
from cnn_registry.text import printable

from .pictures import Picture
from .predict import Prediction

BLOCK = 10_000
"""Rows that are held in memory while another format is made of them."""

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
        resume: continue a file that is there, without a last line that was cut; otherwise it is refused.

    Raises:
        UsageError: it is there, or has another first line.
        DataError: it cannot be written.
    """

    def __init__(self, path: Path, first: str = "", *, resume: bool = False) -> None:
        self.path = path
        if os.path.lexists(path) and not resume:
            raise UsageError(f"{path} is there already. Use --resume to continue it, or name another file.")
        if os.path.lexists(path) and not is_own_file(path):
            raise UsageError(f"{path} is not a regular file; name another.")
        try:
            self._file = path.open("r+b" if path.exists() else "x+b")
            size = _cut_last(self._file)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error
        self._first = first
        if not size:
            self.write([first] if first else [])
        elif first and self._file.readline().decode("utf-8", "replace").rstrip("\n") != first:
            self.close()
            raise UsageError(f"{path} has other columns. Resume with the same options, or name another file.")
        self._file.seek(0, os.SEEK_END)

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
        try:
            self._file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def read(self) -> Iterator[str]:
        """The lines after the first one that was asked for."""
        with self.path.open(encoding="utf-8", newline="\n") as file:
            yield from (line.rstrip("\n") for line in islice(file, 1 if self._first else 0, None))


def _cut_last(file: BinaryIO) -> int:
    """Remove what follows the last end of a line, and return the bytes that are left."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        file.truncate(end)
    file.seek(0)
    return end


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


def csv_done(lines: Iterable[str]) -> Iterator[str]:
    """The paths in lines of `csv_row`."""
    return (row[0] for row in csv.reader(lines) if row)


def json_done(lines: Iterable[str]) -> Iterator[str]:
    """The paths in lines of JSON."""
    return (str(json.loads(line)["path"]) for line in lines)


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

    def row(line: str) -> list[Any]:
        found = json.loads(line)
        pairs = [cell for pair in found["top"][:top] for cell in (pair["class"], pair["probability"])]
        labels = [found["labels"]] if several else []
        return [_text(found["path"]), *pairs, *[None] * (2 * top - len(pairs)), *labels, found.get("error")]

    write_parquet(target, arrow.schema(list(zip(names, kinds, strict=True))), map(row, lines))


def write_parquet(target: Path, schema: Any, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as a Parquet file, `BLOCK` of them at a time."""
    arrow, parquet = need_arrow()
    remaining = iter(rows)
    with parquet.ParquetWriter(target, schema) as writer:
        while block := list(islice(remaining, BLOCK)):
            columns = [list(column) for column in zip(*block, strict=True)]
            arrays = [arrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _text(name: str) -> str:
    """A name that any encoding takes."""
    return name.encode("utf-8", "backslashreplace").decode()


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
            for line in lines:
                row = json.loads(line)
                if "error" in row:
                    bad.append((_text(row["path"]), row["error"]))
                else:
                    file.write(feature_of(row).tobytes())
                    paths.append(_text(row["path"]).encode())
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
    """The feature in a row of `feature_row`, float32 ``(C,)``."""
    return np.frombuffer(base64.b64decode(row["feature"]), "<f4")


def parquet_of_features(lines: Iterable[str], target: Path) -> None:
    """Write lines of `feature_row` as a Parquet file with the columns path, feature and error.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    arrow, _ = need_arrow()
    schema = arrow.schema(
        [("path", arrow.string()), ("feature", arrow.list_(arrow.float32())), ("error", arrow.string())]
    )

    def row(line: str) -> list[Any]:
        found = json.loads(line)
        feature = None if "error" in found else feature_of(found)
        return [_text(found["path"]), feature, found.get("error")]

    write_parquet(target, schema, map(row, lines))
