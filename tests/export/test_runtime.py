"""Predictions by another runtime are those of Keras."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnn_registry import predict
from cnn_registry.errors import ExportError, MissingPackageError, UsageError
from cnn_registry.inference.predict import find_predictor

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_probabilities(trained: Path, colours: Path, cnnreg: Cnnreg) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    ours, theirs = (find_predictor(trained, tta=True, runtime=runtime)(images) for runtime in ("keras", "onnx"))
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    printed = cnnreg("predict", trained, colours / "red", "--runtime", "onnx", "--json")
    assert printed.code == 0
    assert len(predict(trained, colours / "red")) == printed.out.count('"image"')


def test_a_runtime_that_does_not_exist_is_refused(trained: Path, colours: Path) -> None:
    with pytest.raises(UsageError, match=r"runtime must be 'keras' or 'onnx'; got 'onxx'\. Did you mean 'onnx'"):
        predict(trained, colours / "red", runtime="onxx")  # type: ignore[arg-type]  # which is what is refused


def test_a_runtime_that_is_not_installed_is_one_line(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"pip install .*cnn-registry\[onnx\]"):
        find_predictor(trained, runtime="onnx")


def test_other_outputs_are_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_registry.export.runtime.write_onnx", lambda job: None)
    monkeypatch.setattr("cnn_registry.export.runtime.load_onnx", lambda folder: lambda images: np.ones((4, 3)))
    with pytest.raises(ExportError, match="gives other outputs in ONNX Runtime, by up to"):
        find_predictor(trained, runtime="onnx")(np.zeros((1, 16, 16, 3), np.uint8))
