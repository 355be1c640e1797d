"""Measures and thresholds where an image may show several classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from cnn_registry.inference.evaluate import averaged, joined
from cnn_registry.inference.multi_label import MultiLabelEvaluation, best_thresholds


def drawn(count: int = 200) -> MultiLabelEvaluation:
    random = np.random.default_rng(0)
    labels = (random.random((count, 4)) < [0.5, 0.2, 0.1, 0]).astype(np.int8)
    probabilities = np.clip(0.3 * labels + 0.7 * random.random((count, 4)), 0, 1).astype(np.float32)
    return MultiLabelEvaluation(("a", "b", "c", "d"), labels, probabilities, "drawn images")


def test_measures_are_those_of_scikit_learn() -> None:
    found = drawn()
    report, shown = found.report(), found.labels[:, :3]
    average = [average_precision_score(found.labels[:, label], found.probabilities[:, label]) for label in range(3)]
    assert [row["average_precision"] for row in report["classes"]] == [*map(pytest.approx, average), None]
    assert report["mean_average_precision"] == pytest.approx(np.mean(average))
    predicted = found.predictions[:, :3]
    assert report["macro_f1"] == pytest.approx(f1_score(shown, predicted, average="macro"))
    assert report["micro_f1"] == pytest.approx(f1_score(found.labels, found.predictions, average="micro"))
    assert found.accuracy == (found.labels == found.predictions).all(axis=1).mean()
    assert found.loss > 0
    assert found.remarks() == []


def test_thresholds_have_the_highest_f1() -> None:
    found = drawn()
    chosen = best_thresholds(found.labels, found.probabilities)
    assert chosen[3] == 0.5
    for label in range(3):
        true, sure = found.labels[:, label], found.probabilities[:, label]
        best = max(f1_score(true, sure >= threshold) for threshold in np.unique(sure))
        assert f1_score(true, sure >= chosen[label]) == pytest.approx(best)


def test_equal_probabilities_are_on_one_side_of_a_threshold() -> None:
    labels = np.array([[1], [0], [1], [0]])
    assert best_thresholds(labels, np.full((4, 1), 0.25)).tolist() == [0.125]
    assert best_thresholds(labels, np.array([[0.9], [0.2], [0.9], [0.4]])).tolist() == pytest.approx([0.65])


def test_folds_are_joined_and_averaged_with_the_mean_of_their_thresholds() -> None:
    one = drawn()
    other = replace(one, thresholds=np.zeros(4))
    assert one.thresholds is not None
    both = joined([one, other], "images of two folds")
    assert (both.labels.shape, both.part) == ((400, 4), "400 images of two folds")
    assert both.thresholds == pytest.approx(one.thresholds / 2)
    assert isinstance(averaged([one, other]), MultiLabelEvaluation)
