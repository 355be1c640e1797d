"""The figures of a report, compared with other implementations and with cases that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score, top_k_accuracy_score

from cnn_registry.inference.confusion import Confusion
from cnn_registry.report.measures import (
    area_under_curve,
    calibration,
    holm,
    mcnemar,
    measures_of_counts,
    measures_of_probabilities,
    wilson,
)


def drawn(classes: int = 6, images: int = 400, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that are calibrated at a sharpness of 1."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(images, classes)) * 1.5
    labels = np.array([generator.choice(classes, p=softmax(row)) for row in logits])
    return labels, softmax(logits * sharpness, axis=1).astype(np.float32)


@pytest.mark.parametrize(("right", "of"), [(0, 5), (5, 5), (3, 12), (240, 272)])
def test_the_interval_of_a_share_is_wilsons(right: int, of: int) -> None:
    low, high = wilson(np.array(right), np.array(of))
    expected = binomtest(right, of).proportion_ci(method="wilson")
    assert [float(low), float(high)] == pytest.approx([expected.low, expected.high], abs=1e-12)


def test_no_trials_say_nothing() -> None:
    assert [limit.tolist() for limit in wilson(np.array([0]), np.array([0]))] == [[0.0], [1.0]]


def test_measures_agree_with_scikit_learn() -> None:
    labels, probabilities = drawn()
    guesses = probabilities.argmax(axis=1)
    found = measures_of_counts(
        Confusion.of_predictions(labels, guesses, probabilities.shape[1])
    ) | measures_of_probabilities(labels, probabilities)
    assert found["accuracy"].value == pytest.approx((labels == guesses).mean())
    assert found["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(labels, guesses))
    assert found["macro_f1"].value == pytest.approx(f1_score(labels, guesses, average="macro"))
    assert found["auc"].value == pytest.approx(roc_auc_score(labels, probabilities.astype(float), multi_class="ovr"))
    assert found["top_5"].value == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5))
    for measure in found.values():
        assert measure.low is not None
        assert measure.high is not None
        assert 0 < measure.low < measure.value < measure.high < 1
        assert measure.high - measure.low < 0.15


def test_a_class_without_images_does_not_count() -> None:
    confusion = Confusion.of_rows([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    found = measures_of_counts(confusion)
    assert found["balanced_accuracy"].value == pytest.approx(0.85)
    assert found["macro_f1"].value == pytest.approx((16 / 19 + 18 / 21) / 2)
    labels, probabilities = np.array([0, 0, 1, 1]), np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]] * 2)
    assert area_under_curve(labels, probabilities) is not None
    assert area_under_curve(np.zeros(4, int), probabilities) is None
    assert measures_of_counts(Confusion.of_rows(np.zeros((2, 2), int))) == {}


def test_without_a_mistake_there_is_still_doubt() -> None:
    found = measures_of_counts(Confusion.of_rows(np.diag([20, 20])))
    assert found["balanced_accuracy"].value == 1
    assert found["balanced_accuracy"].low is not None
    assert 0.8 < found["balanced_accuracy"].low < 1
    assert (found["macro_f1"].value, found["macro_f1"].low) == (1, None)


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator, inside = np.random.default_rng(1), {"balanced_accuracy": 0, "macro_f1": 0}
    recall, trials = 0.8, 40
    for _ in range(trials):
        right = generator.binomial(50, recall, 3)
        rest = [generator.multinomial(50 - count, [0.5, 0.5]) for count in right]
        confusion = Confusion.of_rows(
            [np.insert(row, place, count) for place, (row, count) in enumerate(zip(rest, right, strict=True))]
        )
        for name in inside:
            found = measures_of_counts(confusion)[name]
            assert found.low is not None
            assert found.high is not None
            inside[name] += found.low <= recall <= found.high  # the true F1 is 0.8 as well
    assert all(trials * 0.85 <= count for count in inside.values())


def test_delongs_interval_is_that_of_one_class_against_another() -> None:
    """The variance of the area for two classes, by its definition."""
    labels, probabilities = drawn(classes=2, images=60, sharpness=1.0)
    found = area_under_curve(labels, probabilities)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    scores = probabilities[:, 1]
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(axis=1).var() / len(positive) + wins.mean(axis=0).var() / len(negative)
    assert found.value == pytest.approx(wins.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)


def test_the_temperature_undoes_what_was_done() -> None:
    labels, probabilities = drawn(images=4000, sharpness=2.5)
    found = calibration(labels, probabilities)
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert found.error > 0.1
    assert found.error_after < 0.03
    assert sum(bin.images for bin in found.bins) == 4000
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    by_hand = 0.0
    for number in range(15):
        chosen = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if chosen.any():
            by_hand += chosen.mean() * abs(confidence[chosen].mean() - right[chosen].mean())
    assert found.error == pytest.approx(by_hand, abs=1e-6)


def test_probabilities_of_zero_and_one_are_calibrated() -> None:
    found = calibration(np.array([0, 1, 1]), np.array([[1, 0], [0, 1], [1, 0]], np.float32))
    assert np.isfinite([found.error, found.temperature, found.error_after, found.cross_entropy_after]).all()
    assert found.error == pytest.approx(1 / 3)


def test_mcnemar() -> None:
    def answers(*counts: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], counts, axis=0).astype(bool)
        return rows[:, 0], rows[:, 1]

    small = mcnemar(*answers(50, 2, 10, 5))
    assert (small.only_first, small.only_second, small.exact) == (2, 10, True)
    assert small.p == pytest.approx(2 * sum([1, 12, 66]) / 2**12)
    # Agresti 1990, table 10.1: 794, 150, 86, 570; with the correction (|150 - 86| - 1)^2 / 236.
    large = mcnemar(*answers(794, 150, 86, 570))
    assert not large.exact
    assert large.p == pytest.approx(4.115e-5, rel=1e-3)
    assert mcnemar(*answers(5, 0, 0, 5)).p == 1


def test_several_tests_are_adjusted() -> None:
    assert holm({(0, 1): 0.01, (0, 2): 0.04, (1, 2): 0.03}) == {(0, 1): 0.03, (1, 2): 0.06, (0, 2): 0.06}
