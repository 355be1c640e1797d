"""A stratified split, drawn as scikit-learn's ``train_test_split`` draws it.

Its import takes a second of every start, nearly all of it for SciPy, which a split does not need.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .dataset import Indices


def stratified(labels: NDArray[np.integer], held_out: float, seed: int) -> tuple[Indices, Indices]:
    """Draw two parts, each with its share of every class.

    Args:
        labels: the classes of the images, ``(N,)``, 0 or more.
        held_out: the share of the images in the second part, between 0 and 1, rounded up.
        seed: of the draw, 0 or more.

    Returns:
        The positions of the images in both parts, in order.
    """
    draw = np.random.RandomState(seed)  # whose sequence is the same in every version of NumPy
    counts = np.bincount(labels)
    number = math.ceil(held_out * len(labels))
    kept = _shares(counts, len(labels) - number, draw)
    taken = _shares(counts - kept, number, draw)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    first: list[Indices] = []
    second: list[Indices] = []
    for members, keep, take in zip(map(draw.permutation, by_class), kept, taken, strict=True):
        first.append(members[:keep])
        second.append(members[keep : keep + take])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))


def _shares(counts: NDArray[np.int64], number: int, draw: np.random.RandomState) -> NDArray[np.int64]:
    """How many of ``number`` images each class gives, in proportion to its images.

    Those left by rounding down come from the classes that lost most by it; among equals, from some drawn at random.
    """
    exact = counts / counts.sum() * number
    shares: NDArray[np.float64] = np.floor(exact)
    lost = exact - shares
    left = int(number - shares.sum())
    for most in np.unique(lost)[::-1]:
        if not left:
            break
        equals = np.flatnonzero(lost == most)
        chosen = draw.choice(equals, size=min(left, len(equals)), replace=False)
        shares[chosen] += 1
        left -= len(chosen)
    return shares.astype(np.int64)
