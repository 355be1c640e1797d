"""A training that begins with weights builds their network, sees pixels as they did, and keeps a classifier by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnn_registry import load_run, train
from cnn_registry.errors import UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.networks.weights.keras_file import stored_class_names
from tests.conftest import UNVARIED

pytestmark = pytest.mark.slow

FAST: dict[str, Any] = UNVARIED | {
    "epochs": 1,
    "batch_size": 16,
    "image_size": 8,
    "fine_tuning.weights": "keras:imagenet",
}


@pytest.mark.parametrize(("chosen", "pixels"), [({}, "caffe"), ({"pixels": "unit"}, "unit")])
def test_the_weights_bring_pixels_and_options(
    foreign: str, colours: Path, tmp_path: Path, chosen: dict[str, Any], pixels: str
) -> None:
    run = train(foreign, data=colours, settings=FAST | chosen, out=tmp_path)
    assert run.record.recipe.pixels == pixels
    assert run.record.model.options == {"bias": True}
    assert evaluate(run).accuracy == pytest.approx(run.record.result["report"]["accuracy"])


def test_options_against_the_weights_are_refused(foreign: str, colours: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"belong to the network with bias=True; got False"):
        train(foreign, data=colours, settings=FAST | {"model.bias": False}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (("red", "green", "blue"), ""),
        (("first", "second", "third"), "was trained on other classes (it has 0 of these 3); these keep"),
        (("z_red", "green", "blue"), "was trained on other classes (it has 2 of these 3); these keep"),
    ],
)
def test_a_run_continues_another_with_its_classifier_only_for_the_same_classes(
    tiny: str, trained: Path, own_colours: Path, tmp_path: Path, names: tuple[str, ...], note: str, capsys: Any
) -> None:
    for old, new in zip(("red", "green", "blue"), names, strict=True):
        (own_colours / old).rename(own_colours / new)
    settings = UNVARIED | {"epochs": 1, "batch_size": 8, "image_size": 16, "optimizer.learning_rate": 1e-30}
    run = train(
        tiny, data=own_colours, settings=settings | {"fine_tuning.weights": str(trained)}, out=tmp_path / "runs"
    )
    assert f"{trained} {note}" in capsys.readouterr().err or not note
    before, after = evaluate(load_run(trained)).accuracy, evaluate(run).accuracy
    assert (after == before) == (not note)
    assert stored_class_names(run.best_weights) == stored_class_names(run.last_weights) == tuple(sorted(names))
