"""The confusion matrix, from two to thousands of classes: a table, or an image and the worst of it as a table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cnn_registry.data.fitting import data_url

TABLE = 40
"""Classes of which all are in a table."""

WORST = 20
"""Classes that are in the table where there are more."""

RIGHT, WRONG = (37, 99, 235), (220, 74, 20)
"""Colours of the diagonal and of the rest."""


@dataclass(frozen=True)
class Cell:
    """Images of one class that were predicted as one class.

    Attributes:
        images: how many.
        share: of the true class.
        right: whether both classes are the same.
    """

    images: int
    share: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix as a page shows it.

    Attributes:
        labels: the classes of the table.
        rows: its cells, the true class in rows.
        image: the whole matrix as a ``data:`` address; empty where the table has all of it.
        cells: of the whole matrix, ``[true, predicted, images]`` where there are any; empty without an image.
    """

    labels: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]
    image: str
    cells: tuple[tuple[int, int, int], ...]


def show_matrix(confusion: Sequence[Sequence[int]]) -> Matrix:
    """The views of a confusion matrix."""
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    whole = len(counts) <= TABLE
    labels = range(len(counts)) if whole else _worst(counts)
    rows = tuple(
        tuple(Cell(int(counts[true, other]), float(shares[true, other]), true == other) for other in labels)
        for true in labels
    )
    if whole:
        return Matrix(tuple(labels), rows, "", ())
    cells = tuple((int(true), int(other), int(counts[true, other])) for true, other in np.argwhere(counts))
    return Matrix(tuple(labels), rows, _image(shares), cells)


def most_confused(confusion: ArrayLike) -> list[tuple[int, int, int]]:
    """Pairs of a true and a predicted class that differ, with their images, those with the most first."""
    counts = np.array(confusion)
    true, predicted = np.nonzero(counts)  # of thousands of classes, most cells are empty
    images = counts[true, predicted]
    order = np.argsort(-images, kind="stable")
    pairs = zip(true[order].tolist(), predicted[order].tolist(), images[order].tolist(), strict=True)
    return [pair for pair in pairs if pair[0] != pair[1]]


def _worst(counts: np.ndarray) -> list[int]:
    """The classes with most mistakes, in their order: seeds are the most confused pairs, so that both are there."""
    confused = (label for pair in most_confused(counts) for label in pair[:2])
    return sorted([*dict.fromkeys(itertools.chain(confused, range(len(counts))))][:WORST])


def _image(shares: np.ndarray) -> str:
    """A pixel per cell, the more opaque the larger its share; of very many classes, a few pixels."""
    from scipy.ndimage import maximum_filter

    # A few images that are confused would be too pale to be seen, and a pixel of very many too small.
    shares, width = np.where(shares > 0, 0.3 + 0.7 * np.sqrt(shares), 0), 1 + 2 * (len(shares) // 300)
    right = np.diag(np.diag(shares))
    opacity = {RIGHT: maximum_filter(right, width), WRONG: maximum_filter(shares - right, width)}
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where((opacity[RIGHT] >= opacity[WRONG])[..., None], RIGHT, WRONG)
    pixels[..., 3] = np.round(255 * np.maximum(*opacity.values()))
    return data_url(pixels, "PNG", optimize=True)
