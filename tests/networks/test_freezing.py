"""Freezing, rates of their own, and runs that begin with trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend, create_model, get_spec, train
from cnn_registry.errors import UsageError
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.inference.model import load_model
from cnn_registry.networks.freezing import freeze, rate_shares

keras = backend.keras()

FAST: dict[str, Any] = {"epochs": 2, "batch_size": 16, "image_size": 8}


def trainable(model: Any) -> list[str]:
    return [layer.name for layer in model.layers if layer.trainable_weights]


@pytest.mark.parametrize(
    ("stage", "left"),
    [
        ("stride2", ["c2", "aux", "predictions"]),
        ("c1", ["c2", "aux", "predictions"]),
        ("stride4", ["aux", "predictions"]),
        ("aux", ["c2", "predictions"]),  # the head and the trunk below it
    ],
)
def test_a_stage_and_all_before_it_is_frozen(two: str, stage: str, left: list[str]) -> None:
    model = create_model(two, num_classes=3, aux_heads=True)
    freeze(model, get_spec(two), stage)
    assert sorted(trainable(model)) == sorted(left)


def test_a_stage_that_is_not_there_is_refused(two: str) -> None:
    model = create_model(two, num_classes=3)
    with pytest.raises(UsageError, match=r"two has no stage 'stride3'\. Did you mean 'stride[24]'.*features stride2, "):
        freeze(model, get_spec(two), "stride3")


def test_freezing_everything_is_refused(two: str) -> None:
    with pytest.raises(UsageError, match="leaves nothing of two to train"):
        freeze(create_model(two, num_classes=3), get_spec(two), "predictions")


def test_each_part_learns_slower_than_the_one_behind_it(two: str) -> None:
    model = create_model(two, num_classes=3)
    shares = {variable.path: share for variable, share in rate_shares(model, get_spec(two), 0.5)}
    assert shares == {"c1/kernel": 0.25, "c1/bias": 0.25, "c2/kernel": 0.5, "c2/bias": 0.5}


def test_without_features_there_are_no_parts(tiny: str) -> None:
    with pytest.raises(UsageError, match="names no features"):
        rate_shares(create_model(tiny, num_classes=3), get_spec(tiny), 0.5)


@pytest.fixture
def weights(two: str, tmp_path: Path) -> Path:
    """Weights of ``two`` for ten classes."""
    keras.utils.set_random_seed(3)
    create_model(two, num_classes=10, input_shape=(8, 8, 3)).save_weights(tmp_path / "ten.weights.h5")
    return tmp_path / "ten.weights.h5"


def test_a_run_begins_with_the_weights_and_leaves_what_is_frozen(
    two: str, weights: Path, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = FAST | {
        "fine_tuning.weights": str(weights),
        "fine_tuning.freeze": "stride2",
        "fine_tuning.layer_decay": 0.5,
        "model.aux_heads": False,
    }
    run = train(two, data=colours, settings=settings, out=tmp_path)
    assert (
        f"{weights} does not match all layers; these keep their random initialization: predictions."
        in capsys.readouterr().err
    )
    assert run.record.recipe.name == "fine_tune"
    before = create_model(two, num_classes=10, input_shape=(8, 8, 3), weights=weights)
    after = load_model(run, "last")
    np.testing.assert_array_equal(after.get_layer("c1").kernel, before.get_layer("c1").kernel)
    moved = np.abs(np.asarray(after.get_layer("c2").kernel) - np.asarray(before.get_layer("c2").kernel)).max()
    assert 0 < moved < 0.5
    assert evaluate(run).accuracy == pytest.approx(run.record.result["report"]["accuracy"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fine_tuning.weights": "imagenet"}, "two has no weights 'imagenet'"),
        ({"fine_tuning.weights": "nowhere.weights.h5"}, r"no weights file nowhere\.weights\.h5"),
        ({"fine_tuning.freeze": "block9"}, "no stage 'block9'"),
        ({"fine_tuning.layer_decay": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    two: str, colours: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(two, data=colours, settings=FAST | settings, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
