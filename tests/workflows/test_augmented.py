from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry import augmented, resume, train
from cnn_registry.errors import RunError, UsageError
from tests.conftest import Cnnreg

STEPS = """
import tensorflow as tf

def darker(images, seed, by=2.0):
    return images / by

def noisy(images, seed):
    return images + tf.random.stateless_normal(tf.shape(images), seed)

def stateful(images, seed):
    return images + tf.random.normal(tf.shape(images))

def smaller(images, seed):
    return images[:, :2]

class Shift:
    def __init__(self, value=1.0):
        self.value = value

    def __call__(self, images, seed):
        return images + self.value

    def get_config(self):
        return {"value": self.value}
"""

SETTINGS: dict[str, Any] = {
    "image_size": [12, 20],
    "batch_size": 16,
    "precision": "float32",
    "deterministic": True,
    "optimizer.learning_rate": 0.05,
}


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_steps.py").write_text(STEPS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_steps", raising=False)
    return tmp_path


def test_a_sheet_has_an_image_in_each_row_and_its_looks_beside_it(
    tiny: str, colours: Path, tmp_path: Path, cnnreg: Cnnreg
) -> None:
    options = ["--set", "image_size=12x20", "--set", "mixing.since=0", "--images", 3, "--draws", 4]
    out = tmp_path / "sheet.png"
    made = cnnreg("augmented", tiny, "--data", colours, *options, "-o", out)
    assert made.code == 0, made.err
    assert "sheet.png" in made.out
    with Image.open(out) as sheet:
        assert sheet.width > sheet.height
        assert len(np.unique(np.asarray(sheet))) > 100
    again = cnnreg("augmented", tiny, "--data", colours, "-o", out)
    assert (again.code, again.err.count("\n")) == (2, 1)
    first, second = (augmented(tiny, data=colours, settings=SETTINGS, images=2, draws=2) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    with pytest.raises(UsageError, match="draws must be from 1 to 24; got 0"):
        augmented(tiny, data=colours, draws=0)


@pytest.mark.slow
def test_own_steps_are_applied_recorded_and_resumed_exactly(
    tiny: str, colours: Path, steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ["own_steps:darker,by=4", "own_steps:noisy", "own_steps:Shift,value=3"]
    settings = SETTINGS | {"epochs": 2, "augmentation.steps": listed, "augmentation.trivial_augment": True}
    whole = train(tiny, data=colours, settings=settings, out=steps / "whole", report=False)
    assert whole.record.recipe.augmentation.steps == tuple(listed)
    assert whole.record.steps == {"own_steps:Shift,value=3": {"value": 3}}

    import keras

    class Stop(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model.optimizer.iterations == 4:
                raise KeyboardInterrupt

    options: dict[str, Any] = {"callbacks": [Stop()], "checkpoint_minutes": 1e-9, "report": False}
    part = train(tiny, data=colours, settings=settings, out=steps / "part", **options)
    assert part.record.status == "interrupted"
    with pytest.raises(UsageError, match=r"names code that would run.*own_steps"):
        resume(part.path)
    monkeypatch.setenv("CNNREG_OBJECTS", "own_steps")
    with monkeypatch.context() as changed:
        changed.setattr(sys.modules["own_steps"].Shift, "get_config", lambda self: {"kind": 2})
        with pytest.raises(RunError, match=r"augmentation step own_steps:Shift,value=3 was .*, is \{'kind': 2\}"):
            resume(part.path)
    resumed = resume(part.path, report=False)
    assert resumed.record.steps == whole.record.steps
    for one, other in zip(whole.model("last").weights, resumed.model("last").weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("own_steps:stateful", "is not stateless: .* tf.random.stateless_uniform"),
        ("own_steps:smaller", r"must return float32 \(2, 12, 20, 3\), as it takes; got float32 \(2, 2, 20, 3\)"),
        ("own_steps:darker,to=2", "failed on a sample: .*unexpected keyword argument 'to'"),
        ("own_steps:STATE", "has no 'STATE' for the augmentation step"),
        ("nowhere:step", "There is no module 'nowhere' for the augmentation step"),
        ("flip", "augmentation.steps.0: expected module:object"),
    ],
)
def test_steps_that_cannot_be_used_are_refused_before_a_directory_is_made(
    tiny: str, colours: Path, steps: Path, cnnreg: Cnnreg, step: str, message: str
) -> None:
    settings = ["--set", "image_size=12x20", "--set", f'augmentation.steps=["{step}"]']
    refused = cnnreg("train", tiny, "--data", colours, *settings, "--out", steps / "runs")
    assert (bool(refused.code), refused.err.count("\n")) == (True, 1), refused.err
    assert re.search(message, refused.err), refused.err
    assert not (steps / "runs").exists()
