"""Rows of predictions: hostile names in CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from cnn_registry.inference.line_file import LineFile
from cnn_registry.inference.predict import Prediction
from cnn_registry.inference.prediction_rows import (
    csv_done,
    csv_line,
    csv_path,
    csv_row,
    header,
    json_done,
    json_row,
    parquet_of_predictions,
)

HOSTILE = [
    "=cmd|' /C calc'!A0.jpg",
    "+1.jpg",
    "-1.jpg",
    "@SUM(A1).jpg",
    "two\nlines\r.jpg",
    'a,"b".jpg',
    "\x1b[31m.jpg",
    os.fsdecode(b"\xff.jpg"),
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "花 \N{TULIP}.jpg",
]


def test_hostile_names_are_one_harmless_line_of_csv_each(tmp_path: Path) -> None:
    predictions = [Prediction(Path(name), (("=1+1", 0.75), ("-1", 0.25))) for name in HOSTILE]
    predictions.append(Prediction(Path("bad.jpg"), (), "truncated"))
    with LineFile(tmp_path / "x.csv", csv_line(header(3))) as lines:
        lines.write(csv_row(prediction, 3) for prediction in predictions)
        text = (tmp_path / "x.csv").read_text(encoding="utf-8")
        assert text.count("\n") == len(predictions) + 1
        assert "\r" not in text
        assert "\x1b" not in text
        assert list(csv_done(lines.read(), header(3))) == [csv_path(prediction.image) for prediction in predictions]
    rows = list(csv.DictReader(text.splitlines()))
    assert rows[0]["path"] == "./=cmd|' /C calc'!A0.jpg"
    assert (rows[0]["class"], rows[0]["probability"], rows[0]["class_2"]) == ("'=1+1", "0.75", "-1")
    assert not any(row["path"].startswith(tuple("=+-@")) for row in rows)
    assert rows[9]["path"] == HOSTILE[9]
    assert (rows[-1]["class"], rows[-1]["error"]) == ("", "truncated")


def test_json_lines_keep_names_exactly() -> None:
    rows = [json_row(Prediction(Path(name), (("a", 1.0),))) for name in HOSTILE]
    assert [json.loads(row)["path"] for row in rows] == HOSTILE == list(json_done(rows))
    assert json.loads(rows[0]) == {
        "path": HOSTILE[0],
        "class": "a",
        "probability": 1.0,
        "top": [{"class": "a", "probability": 1.0}],
    }
    assert json.loads(json_row(Prediction(Path("b"), (), "empty file")))["error"] == "empty file"


def test_a_parquet_file_is_made_of_lines(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [json_row(Prediction(Path(HOSTILE[7]), (("a", 0.9), ("b", 0.1)))), json_row(Prediction("x", (), "cut"))]
    parquet_of_predictions(rows, 3, tmp_path / "p.parquet")
    table = parquet.read_table(tmp_path / "p.parquet")
    assert table.column_names == header(3)
    first, second = table.to_pylist()
    assert (first["path"], first["probability"], first["class_2"], first["class_3"]) == ("\\udcff.jpg", 0.9, "b", None)
    assert (second["class"], second["error"]) == (None, "cut")
