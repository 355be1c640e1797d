"""What only a GPU can show; skipped without one."""

from pathlib import Path

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.workflows.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _needs_a_gpu() -> None:
    if not backend.tensorflow().config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow finds no GPU")


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "auto"])
def test_a_training_in_half_precision_learns(precision: str, tmp_path: Path) -> None:
    run = train("lenet5", dataset="digits", settings={"epochs": 3, "precision": precision}, out=tmp_path, report=False)
    assert np.isfinite(run.record.result["last"]["val_loss"])
    assert run.record.result["best"]["val_accuracy"] > 0.5


def test_all_gpus_train_what_one_trains(tmp_path: Path) -> None:
    if len(backend.tensorflow().config.list_physical_devices("GPU")) < 2:
        pytest.skip("TensorFlow finds one GPU")
    settings = {"epochs": 2, "precision": "float32"}
    one, all_of_them = (
        train("lenet5", dataset="digits", settings=settings, out=tmp_path, report=False, distribute=kind)
        for kind in ("none", "mirrored")
    )
    ours, theirs = (run.record.result["last"]["val_loss"] for run in (one, all_of_them))
    assert ours == pytest.approx(theirs, rel=1e-2)
