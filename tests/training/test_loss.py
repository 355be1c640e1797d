"""What training minimizes and measures, by name or as an object of anybody's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.errors import UsageError
from cnn_registry.recipes.load import load_recipe
from cnn_registry.training.loss import build_loss, build_metrics, check_on_sample

keras = backend.keras()

LABELS = np.eye(3, dtype="float32")
OUTPUTS = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.6, 0.3, 0.1]], "float32")
TRUE = np.array([0.7, 0.5, 0.1])


def loss(**settings: Any) -> Any:
    recipe = load_recipe("article").with_settings({f"loss.{key}": value for key, value in settings.items()})
    return build_loss(recipe.loss, 0.0)


def value(of: Any) -> float:
    return float(of(LABELS, OUTPUTS))


def test_losses_are_those_of_their_papers() -> None:
    entropy = -np.log(TRUE)
    assert value(loss()) == pytest.approx(entropy.mean())
    assert value(loss(name="focal", gamma=3.0)) == pytest.approx(((1 - TRUE) ** 3 * entropy).mean(), rel=1e-5)
    assert value(loss(name="poly1", epsilon=2.0)) == pytest.approx((entropy + 2 * (1 - TRUE)).mean(), rel=1e-5)
    binary = -(LABELS * np.log(OUTPUTS) + (1 - LABELS) * np.log(1 - OUTPUTS)).mean()
    assert value(loss(name="binary_cross_entropy")) == pytest.approx(binary, rel=1e-5)
    assert value(loss(name="keras.losses:CategoricalHinge")) == pytest.approx(
        value(keras.losses.CategoricalHinge()), rel=1e-6
    )


@pytest.mark.parametrize(("name", "without"), [("focal", "gamma"), ("poly1", "epsilon")])
def test_a_loss_without_its_own_term_is_the_cross_entropy_smoothed_too(name: str, without: str) -> None:
    recipe = load_recipe("article").with_settings({"loss": name, f"loss.{without}": 0.0})
    smoothed = build_loss(load_recipe("article").loss, 0.1)
    assert value(build_loss(recipe.loss, 0.1)) == pytest.approx(value(smoothed), rel=1e-5)


def test_poly1_comes_back_from_its_configuration() -> None:
    made = loss(name="poly1", epsilon=2.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert value(again) == pytest.approx(value(made))


def test_metrics_are_named_alike_in_each_training() -> None:
    for _ in range(2):
        names = [
            metric.name for metric in build_metrics(["AUC", "top_k_categorical_accuracy,k=2", "keras.metrics:Recall"])
        ]
        assert names == ["accuracy", "auc", "top_k_categorical_accuracy", "recall"]


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (["AOC"], "Keras has no metric 'AOC'. Did you mean 'AUC'"),
        (["AUC", "AUC"], "Two metrics are called 'auc'"),
        (["keras.losses:KLDivergence"], "must make a keras.metrics.Metric; it made KLDivergence"),
        (["AUC,bins=3"], "The metric cannot be made by AUC with bins=3"),
    ],
)
def test_what_is_not_a_metric_is_refused_in_one_line(listed: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        build_metrics(listed)
    assert "\n" not in str(refused.value)


def test_what_does_not_take_one_hot_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = build_metrics(["keras.metrics:SparseCategoricalAccuracy"])
    with pytest.raises(UsageError, match="sparse_categorical_accuracy' cannot be computed for one-hot labels"):
        check_on_sample(loss(), metrics, 3)
    (tmp_path / "my_losses.py").write_text(
        "import keras\nclass Broken(keras.losses.Loss):\n    def call(self, y, p):\n"
        "        return keras.ops.log(y - p)\n"
    )
    monkeypatch.chdir(tmp_path)
    try:
        with pytest.raises(UsageError, match="The loss is not finite"):
            check_on_sample(loss(name="my_losses:Broken"), build_metrics([]), 3)
    finally:
        sys.modules.pop("my_losses", None)
    assert str(tmp_path) not in sys.path
