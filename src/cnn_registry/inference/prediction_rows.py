"""Predictions as rows: of CSV, of JSON, or of a Parquet file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cnn_registry.system.extras import need_arrow
from cnn_registry.text import as_text, printable, quoted

from .line_file import json_rows
from .parquet import write_parquet
from .predict import Prediction

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


def _check_class(name: object, known: Collection[str] | None, number: int) -> None:
    if name is not None and known is not None and name not in known:
        raise ValueError(f"line {number} has the class {quoted(printable(str(name)))}, which this model does not have")


def _predicted(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Lines of `json_row` as they were before."""
    for number, row in json_rows(lines):
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
