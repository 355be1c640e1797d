"""Settings that are changed where a training is resumed are checked as those of a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnn_registry import resume, train
from cnn_registry.backend import keras
from cnn_registry.errors import CnnRegistryError
from cnn_registry.runs.run import Run
from tests.conftest import UNVARIED

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = UNVARIED | {"epochs": 3, "batch_size": 16, "image_size": 16, "optimizer.momentum": 0.0}


def test_a_setting_that_cannot_be_resumed_with_is_named(tiny: str, colours: Path, tmp_path: Path) -> None:
    class Stop(keras().callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise RuntimeError("stopped")

    with pytest.raises(CnnRegistryError, match="stopped"):
        train(tiny, data=colours, settings=SETTINGS, callbacks=[Stop()], out=tmp_path / "runs", report=False)
    [path] = (tmp_path / "runs").iterdir()
    before = (path / "run.json").read_bytes()
    for setting, value, said in [
        ("precision", "float16", r"^precision=float16 needs a GPU"),
        ("optimizer.name", "adam", r" cannot be resumed with optimizer\.name=adam \(was sgd\): The checkpoint belongs"),
        ("optimizer.name", "adamm", "Keras has no optimizer 'adamm'"),
        ("metrics", ["NoMetric"], "NoMetric"),
        ("callbacks", ["nowhere:Callback"], "nowhere"),
        ("augmentation.steps", ["nothing"], "nothing"),
    ]:
        with pytest.raises(CnnRegistryError, match=said):
            resume(path, settings={setting: value}, force=True, report=False)
        assert (path / "run.json").read_bytes() == before, setting
    assert resume(path, settings={"precision": "auto"}, force=True, report=False).status == "finished"
    assert Run.open(path).record.recipe.precision in ("float32", "bfloat16")
