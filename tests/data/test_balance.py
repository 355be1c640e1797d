"""Weights of classes, and epochs in which all classes are equally frequent."""

from __future__ import annotations

import numpy as np
import pytest

from cnn_registry.data.balance import ClassWeights, class_weights, epoch_order

LABELS = np.array([0] * 80 + [1] * 16 + [2] * 4)


def weights(kind: ClassWeights, beta: float = 0.99) -> np.ndarray:
    found = class_weights(LABELS, 4, kind, beta)
    assert found[LABELS].mean() == pytest.approx(1)
    assert found[3] == 1  # it has no images
    return found[:3]


def test_balanced_weights_give_each_class_the_same_share_of_the_loss() -> None:
    assert weights("balanced") * [80, 16, 4] == pytest.approx([100 / 3] * 3)


def test_effective_weights_lie_between_none_and_balanced() -> None:
    none, balanced, effective = weights("none"), weights("balanced"), weights("effective")
    assert none == pytest.approx([1, 1, 1])
    assert balanced[0] < effective[0] < 1 < effective[2] < balanced[2]
    assert weights("effective", 0.0) == pytest.approx(none)
    assert weights("effective", 0.999999) == pytest.approx(balanced, rel=1e-3)
    number = (1 - 0.99 ** np.array([80, 16, 4])) / 0.01
    assert effective[0] / effective[2] == pytest.approx(number[2] / number[0], rel=1e-5)


def test_a_balanced_epoch_has_as_many_images_of_each_class() -> None:
    train = np.arange(1, 100)
    for epoch in range(3):
        order = epoch_order(train, LABELS, "balanced", (7, epoch))
        assert len(order) == len(train)
        assert sorted(np.bincount(LABELS[order])) == [33, 33, 33]
        assert set(order) <= set(train)
        assert {96, 97, 98, 99} <= set(order)  # all of the smallest class
        np.testing.assert_array_equal(order, epoch_order(train, LABELS, "balanced", (7, epoch)))


def test_a_large_class_is_seen_whole_over_the_epochs() -> None:
    seen = set(np.concatenate([epoch_order(np.arange(100), LABELS, "balanced", (0, epoch)) for epoch in range(20)]))
    assert seen == set(range(100))


def test_a_shuffled_epoch_has_each_image_once() -> None:
    order = epoch_order(np.arange(5, 100), LABELS, "shuffled", (7, 0))
    assert sorted(order) == list(range(5, 100))
    np.testing.assert_array_equal(order, np.arange(5, 100)[np.random.default_rng((7, 0)).permutation(95)])
