"""Files that ``--resume`` is to continue, and that something else has written or changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnn_registry.errors import UsageError
from cnn_registry.inference.feature_rows import feature_row, features_done, write_npz
from cnn_registry.inference.line_file import LONGEST, LineFile
from cnn_registry.inference.predict import Prediction
from cnn_registry.inference.prediction_rows import csv_done, csv_line, csv_row, header, json_done, json_row

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

FIRST = csv_line(header(1))
ROW = csv_row(Prediction("a.png", (("red", 0.5),)), 1)
LINE = json_row(Prediction("a.png", (("red", 0.5),)))


@pytest.mark.parametrize(
    "line",
    ["{}", "[]", "null", '{"path": 1}', "{", "[" * 100_000, "", '{"path": "a"}', '{"path": "a", "error": 1}', "1e999"],
)
def test_a_line_that_is_not_a_prediction_is_named(line: str) -> None:
    for done in (json_done, features_done):
        with pytest.raises(ValueError, match=r"^line 2 "):
            list(done([LINE if done is json_done else feature_row("a", np.ones(3)), line]))
    top = {"path": "a", "class": "red", "top": [{"class": 1, "probability": "x"}]}
    with pytest.raises(ValueError, match="is not a prediction"):
        list(json_done([json.dumps(top)]))


@pytest.mark.parametrize("line", ["a,red", '"a\n', "a,red,0.5,,more", '"' + "x" * 200_000 + '"', '"a"b,red,1,'])
def test_a_line_that_is_not_a_row_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 3 "):
        list(csv_done([ROW, line], header(1)))


def test_classes_of_another_model_are_refused() -> None:
    assert list(json_done([LINE], ["red"])) == list(csv_done([ROW], header(1), ["red"])) == ["a.png"]
    for done in (json_done([LINE], ["cat"]), csv_done([ROW], header(1), ["cat"])):
        with pytest.raises(ValueError, match="has the class 'red', which this model does not have"):
            list(done)


@pytest.mark.parametrize("feature", [np.ones(6), np.ones(0)])
def test_features_of_different_lengths_are_never_one_array(tmp_path: Path, feature: np.ndarray) -> None:
    lines = [feature_row("a", np.ones(4)), feature_row("b", feature)]
    with pytest.raises(ValueError, match=f"a feature of {len(feature)} numbers, where others have 4"):
        write_npz(lines, tmp_path / "f.npz")
    for damaged in ("####", "AAA", 5):
        with pytest.raises(ValueError, match="line 1 has no feature"):
            list(features_done([json.dumps({"path": "a", "feature": damaged})]))


@pytest.mark.parametrize("content", [b"one line of a thesis", b"a thesis\nof two lines", b"\0" * 100, b"\xff\xfe\n"])
@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet.part"])
def test_a_file_of_somebody_else_stays_as_it_is(
    trained: Path, colours: Path, tmp_path: Path, cnnreg: Cnnreg, content: bytes, name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    ended = cnnreg("predict", trained, colours, "-o", tmp_path / name.removesuffix(".part"), "--resume")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith(f"Error: {file} ")
    assert file.read_bytes() == content


def test_a_huge_line_is_not_read_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    for end in (b"", b"\n"):
        with file.open("wb") as sparse:
            sparse.truncate(2**40)
            sparse.seek(0, 2)
            sparse.write(end)
        if end:
            with LineFile(file, resume=True) as lines, pytest.raises(ValueError, match=f"more than {LONGEST:,} bytes"):
                list(lines.read())
        else:
            with pytest.raises(UsageError, match="ends in a line of more than"):
                LineFile(file, resume=True)
        assert file.stat().st_size == 2**40 + len(end)


def test_a_journal_of_another_model_is_refused(trained: Path, colours: Path, tmp_path: Path, cnnreg: Cnnreg) -> None:
    part = tmp_path / "f.npz.part"
    made_with = {"run": str(trained), "weights": "last"}
    begun = json.dumps({"made_with": made_with}) + "\n" + feature_row("a", np.ones(8)) + "\n"
    part.write_text(begun)
    ended = cnnreg("embed", trained, colours / "red", "-o", tmp_path / "f.npz", "--resume")
    assert (ended.code, part.read_text()) == (2, begun)
    assert "was begun with other options" in ended.err
