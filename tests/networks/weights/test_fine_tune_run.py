"""A training that begins with published weights sees pixels as they were trained, and builds the same network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnn_registry import train
from cnn_registry.errors import UsageError
from cnn_registry.inference.evaluate import evaluate

FAST: dict[str, Any] = {"epochs": 2, "batch_size": 16, "image_size": 8, "fine_tuning.weights": "keras:imagenet"}


@pytest.mark.parametrize(("chosen", "pixels"), [({}, "caffe"), ({"pixels": "unit"}, "unit")])
def test_the_weights_bring_pixels_and_options(
    foreign: str, colours: Path, tmp_path: Path, chosen: dict[str, Any], pixels: str
) -> None:
    run = train(foreign, data=colours, settings=FAST | chosen, out=tmp_path)
    assert run.record.recipe.pixels == pixels
    assert run.record.model.options == {"bias": True}
    assert evaluate(run).accuracy == pytest.approx(run.record.result["report"]["accuracy"])


def test_options_against_the_weights_are_refused(foreign: str, colours: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"are of the network with bias=True; got False"):
        train(foreign, data=colours, settings=FAST | {"model.bias": False}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
