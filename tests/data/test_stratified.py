from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from cnn_registry.data.stratified import stratified


@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=30),
    held_out=st.sampled_from([0.1, 0.15, 0.2, 0.25, 0.3, 0.5]),
    seed=st.integers(0, 2**31),
)
def test_the_draw_is_that_of_scikit_learn(counts: list[int], held_out: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    try:
        expected = train_test_split(np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=seed)
    except ValueError:  # fewer images than classes in one of the parts
        return
    for part, found in zip(expected, stratified(labels, held_out, seed), strict=True):
        np.testing.assert_array_equal(np.sort(part), found)


def test_a_class_that_is_absent_takes_no_part() -> None:
    first, second = stratified(np.array([0, 5, 0, 5, 0, 5, 0, 5, 0, 5]), 0.2, seed=1)
    assert sorted([*first, *second]) == list(range(10))
    assert [labels % 2 for labels in sorted(second % 2)] == [0, 1]
