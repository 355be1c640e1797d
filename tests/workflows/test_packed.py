"""Packed images are taken wherever a folder is."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import cnn_registry
from cnn_registry.data.packing import pack
from cnn_registry.runs.folds import open_runs
from cnn_registry.workflows.cross_validate import train_folds
from tests.conftest import UNVARIED
from tests.workflows.test_resume import after_steps

SETTINGS = UNVARIED | {"epochs": 2, "batch_size": 8, "image_size": 16}


@pytest.mark.slow
def test_every_command_that_trains_takes_packed_images(colours: Path, tiny: str, tmp_path: Path) -> None:
    pytest.importorskip("array_record")
    packed = pack(colours, tmp_path / "packed", shards=3).path
    stop = after_steps(4, lambda: signal.raise_signal(signal.SIGINT))
    train = partial(cnn_registry.train, tiny, settings=SETTINGS, out=tmp_path / "runs", report=False)
    stopped = train(data=colours, callbacks=[stop])
    resumed = cnn_registry.resume(stopped.path, data=packed, report=False)
    whole = train(data=packed)
    assert (resumed.status, resumed.record.data.digest) == ("finished", whole.record.data.digest)
    assert resumed.record.data.source == str(packed)
    assert [row.val_loss for row in resumed.history] == [row.val_loss for row in whole.history]
    one, other = (cnn_registry.evaluate(whole, data=data, part="val") for data in (packed, colours))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert "48 of which" in cnn_registry.evaluate(whole, data=packed, part="all").part
    found = cnn_registry.find_learning_rate(tiny, data=packed, settings={**SETTINGS, "batch_size": 4}, steps=20)
    assert found.suggestion > 0
    folds = train_folds(tiny, 2, data=packed, settings=SETTINGS | {"epochs": 1}, out=tmp_path / "folds", report=False)
    validated = [image for run in open_runs(folds.path) for image in run.record.split.val]
    assert len(set(validated)) == len(validated) == 60
