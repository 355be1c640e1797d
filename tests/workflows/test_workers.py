"""Several processes train what one trains."""

import csv
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from cnn_registry.runs.run import load_run
from cnn_registry.system.launch import launched

ROOT = Path(__file__).parents[2]
SCRIPT = f"""
import sys

sys.path.insert(0, {str(ROOT)!r})
import cnn_registry
from benchmarks.workers_model import parts

settings = {{
    "batch_size": 180, "optimizer.clipnorm": 0.5, "ema": 0.1, "label_smoothing": 0.1, "mixing.mixup": 0.4,
    "mixing.cutmix": 1.0, "augmentation.rotation": 10.0, "augmentation.flip": True, "class_weights": "balanced",
    "fine_tuning.layer_decay": 0.8, "model.aux_heads": True, "optimizer.learning_rate": 0.05,
    "precision": "float32", "metrics": ["TopKCategoricalAccuracy,k=3"],
}}
settings["epochs"] = 2
for out, kind in zip(sys.argv[1::2], sys.argv[2::2]):
    cnn_registry.train(parts.__name__, dataset="digits", settings=settings, out=out, report=False, distribute=kind)
"""


@pytest.mark.slow
def test_two_workers_and_three_devices_train_what_one_trains(
    tmp_path: Path, warm_python: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    devices = (
        "import tensorflow as tf; config = tf.config; cpu = config.list_physical_devices('CPU')[0]; "
        "config.set_logical_device_configuration(cpu, [config.LogicalDeviceConfiguration()] * 3)\n"
    )
    (tmp_path / "devices.py").write_text(devices + SCRIPT)
    monkeypatch.chdir(tmp_path)
    assert launched([*warm_python, "script.py", "two", "auto"], 2) == 0
    command = [*warm_python, "devices.py", "one", "none", "three", "mirrored"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert not done.returncode, done.stderr
    one, two, three = (load_run(next((tmp_path / name).glob("*/"))) for name in ("one", "two", "three"))
    assert len(list((tmp_path / "two").iterdir())) == 1
    for other in (two, three):
        _agree(_history(one.path), _history(other.path), rtol=2e-4)
        for ours, theirs in zip(_arrays(one.last_weights), _arrays(other.last_weights), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
        assert other.record.status == "finished"


def _arrays(path: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def _history(path: Path) -> list[dict[str, float]]:
    rows = list(csv.DictReader((path / "history.csv").read_text().splitlines()))
    return [
        {name: float(value) for name, value in row.items() if name not in ("seconds", "images_per_second")}
        for row in rows
    ]


def _agree(ours: list[dict[str, float]], theirs: list[dict[str, float]], rtol: float) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=rtol, abs=2e-3)  # of the accuracies, two images
