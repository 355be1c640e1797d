"""Features of pictures as rows: of JSON, of a Parquet file, or as arrays in an ``.npz`` file."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.system.extras import need_arrow
from cnn_registry.text import as_text

from .line_file import json_rows
from .parquet import write_parquet


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


def features_done(lines: Iterable[str]) -> Iterator[str]:
    """The paths in lines of `feature_row`.

    Raises:
        ValueError: a line is something else, or has a feature of another length.
    """
    return (path for path, _, _ in _features(lines))


def _features(lines: Iterable[str]) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Lines of `feature_row` as path, feature and error. All features have the same length."""
    length = 0
    for number, row in json_rows(lines):
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
