"""A network whose weights are not numbers has no most probable class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnn_registry import evaluate, load_run, predict
from cnn_registry.errors import WeightsError
from cnn_registry.runs.weights_file import save_weights


def test_a_network_that_gives_nan_is_refused(trained: Path, colours: Path) -> None:
    run = load_run(trained)
    model = run.model()
    model.weights[-1].assign(np.full(model.weights[-1].shape, np.nan))
    save_weights(model, run.best_weights, run.class_names)
    fault = r"gives NaN or infinity for {} of {} images?: its weights are damaged"
    with pytest.raises(WeightsError, match=fault.format(1, 1)):
        predict(trained, colours / "red" / "0.png")
    with pytest.raises(WeightsError, match=fault.format(2, 2)):
        run.explain([colours / "red" / "0.png", colours / "green" / "0.png"])
    count = len(run.record.validated)
    with pytest.raises(WeightsError, match=fault.format(count, count)):
        evaluate(run)
