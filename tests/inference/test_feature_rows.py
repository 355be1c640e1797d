"""Rows of features, and the files that are made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnn_registry.inference.feature_rows import feature_row, parquet_of_features, write_npz


def test_parquet_and_npz_are_made_of_lines(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    lines = [feature_row("a", features[0]), feature_row("bad", None, "cut"), feature_row(Path("花"), features[1])]
    write_npz(lines, tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as stored:
        np.testing.assert_array_equal(stored["features"], features)
        assert stored["paths"].tolist() == ["a", "花"]
        assert (stored["bad_paths"].tolist(), stored["bad_reasons"].tolist()) == (["bad"], ["cut"])
    parquet_of_features(lines, tmp_path / "f.parquet")
    stored_rows = parquet.read_table(tmp_path / "f.parquet").to_pylist()
    assert [row["feature"] for row in stored_rows] == [[0, 1, 2], None, [3, 4, 5]]
