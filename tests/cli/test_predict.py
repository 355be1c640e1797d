"""``cnnreg predict`` and ``embed``: pictures from anywhere to rows of results, whatever cannot be read among them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnn_registry import load_run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, RunPython


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_file_that_cannot_be_read_is_counted_and_the_others_are_shown(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    ended = cnnreg("predict", trained, tmp_path / "cut.jpg", colours / "red", "--top", 1)
    assert ended.code == 0
    assert ended.out.count(" red ") >= 20
    assert len(ended.out.splitlines()) == 1 + 21, "a row a picture"
    assert f"cannot be read: {tmp_path / 'cut.jpg'}: " in ended.err
    assert "1 of 21 images cannot be read." in ended.err
    listed = json.loads(cnnreg("predict", trained, tmp_path / "cut.jpg", colours / "red" / "0.png", "--json").out)
    assert [bool(row["classes"]) for row in listed] == [False, True]
    assert listed[0]["error"]


def test_only_when_asked_for_are_bad_files_a_failure_and_then_before_tensorflow_is_imported(
    trained: Path, tmp_path: Path, run_python: RunPython
) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"")
    code = """
import sys
from cnn_registry.cli import main
try:
    main()
finally:
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    for options in ((), ("--on-bad-image", "error")):
        done = run_python("-c", code, "predict", str(trained), str(tmp_path / "cut.jpg"), *options)
        assert done.returncode == 1, done.stderr
        assert "empty file" in done.stderr
        assert "AssertionError" not in done.stderr


def test_where_not_one_image_can_be_read_the_work_has_failed(cnnreg: Cnnreg, trained: Path, tmp_path: Path) -> None:
    broken = [tmp_path / "cut.jpg", tmp_path / "missing.png"]
    broken[0].write_bytes(b"")
    for options in ((), ("--json",), ("--format", "csv")):
        ended = cnnreg("predict", trained, *broken, *options)
        assert ended.code == 1
        assert ended.err.splitlines()[-1] == "Error: None of the 2 images can be read."
        assert "missing.png" in ended.out, "the rows with the reasons are printed"
    out = tmp_path / "p.csv"
    assert "The image cannot be read." in cnnreg("predict", trained, broken[0], "-o", out).err
    assert [bool(row["error"]) for row in rows(out)] == [True]
    assert cnnreg("predict", trained, *broken, "-o", out, "--resume").code == 0, "a part of a job may be all bad"
    assert cnnreg("embed", trained, *broken, "-o", tmp_path / "x.npz").code == 1


def test_a_job_that_was_stopped_is_resumed_and_nothing_is_overwritten(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "p.csv", tmp_path / "whole.csv"
    assert cnnreg("predict", trained, colours, "-o", whole, "--top", 2).code == 0
    assert [row["class"] for row in rows(whole)] == ["blue"] * 20 + ["green"] * 20 + ["red"] * 20
    lines = whole.read_text().splitlines(keepends=True)
    assert lines[0] == "path,class,probability,class_2,probability_2,error\n"
    out.write_text("".join(lines[:31]) + lines[31][:9])
    refused = cnnreg("predict", trained, colours, "-o", out, "--top", 2)
    assert (refused.code, "already exists" in refused.err) == (2, True)
    resumed = cnnreg("predict", trained, colours, "-o", out, "--top", 2, "--resume")
    assert "30 images in" in resumed.err
    assert [row["path"] for row in rows(out)] == [row["path"] for row in rows(whole)]
    assert cnnreg("predict", trained, colours, "-o", out, "--resume", "--top", 3).code == 2
    assert cnnreg("predict", trained, colours, "-o", out, "--resume", "--top", 2).code == 0
    assert len(rows(out)) == 60


def test_a_parquet_file_is_made_at_the_end_and_resumed_from_its_lines(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "p.parquet"
    cnnreg("predict", trained, colours / "red", "-o", tmp_path / "p.jsonl")
    made_with = {"run": str(trained), "weights": "best", "tta": False, "top": 3}
    begun = json.dumps({"made_with": made_with}) + "\n" + (tmp_path / "p.jsonl").read_text()
    (tmp_path / "p.parquet.part").write_text(begun)
    ended = cnnreg("predict", trained, colours, "-o", out, "--resume")
    assert ended.code == 0, ended.err
    assert parquet.read_table(out).num_rows == 60
    assert not (tmp_path / "p.parquet.part").exists()
    assert "It is complete" in cnnreg("predict", trained, colours, "-o", out, "--resume").err


def test_lines_go_to_standard_output_and_wrong_combinations_are_refused(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path
) -> None:
    picture = colours / "green" / "3.png"
    listed = cnnreg("predict", trained, picture, "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["class"] for line in listed] == ["green"]
    assert cnnreg("predict", trained, picture, "--format", "csv").out.splitlines()[1].startswith(f"{picture},green,")
    for options, message in (
        (("--json", "--format", "csv"), "--json prints one JSON document"),
        (("--resume",), "name it with -o"),
        (("--format", "parquet"), "name it with -o"),
        (("--format", "table", "-o", tmp_path / "x"), "A table is for a terminal"),
        (("--weights", "keras:imagenet"), "are 'best' or 'last'"),
        (("-o", tmp_path), "is a directory"),
        (("-o", tmp_path / "x.html"), "end it in '.csv', '.jsonl', '.ndjson' or '.parquet', or add --format"),
    ):
        ended = cnnreg("predict", trained, picture, *options)
        assert (ended.code, message in ended.err, ended.err.count("\n")) == (2, True, 1), ended.err


def test_embed_writes_the_input_of_the_classifier(cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"x")
    out, run = tmp_path / "x.npz", load_run(trained)
    ended = cnnreg("embed", trained, colours / "red", tmp_path / "cut.png", "-o", out)
    assert ended.code == 0, ended.err
    with np.load(out) as stored:
        assert stored["features"].shape == (20, 8)
        assert stored["bad_paths"].tolist() == [str(tmp_path / "cut.png")]
        network = run.model()
        kernel, bias = network.layers[-1].get_weights()
        scores = stored["features"] @ kernel + bias
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, np.asarray(network(run.preprocess(colours / "red"))), atol=1e-5)
        assert stored["paths"].tolist() == [str(prediction.image) for prediction in run.predict(colours / "red")]
    assert cnnreg("embed", trained, colours / "red", "-o", out).code == 2
    assert cnnreg("embed", trained, colours / "red", "-o", tmp_path / "x.txt").code == 2
