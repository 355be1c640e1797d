"""The confusion matrix, from two to thousands of classes: a table, or an image and the worst of it as a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cnn_registry.data.dataset import Indices
from cnn_registry.data.fitting import data_url
from cnn_registry.inference.confusion import Confusion

TABLE = 40
"""Classes of which all are in a table."""

WORST = 20
"""Classes that are in the table where there are more."""

EDGE = 1500
"""Pixels of an edge of the image, at most."""

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


def show_matrix(confusion: Confusion) -> Matrix:
    """The views of a confusion matrix."""
    cells = tuple(_cells(confusion, slice(None)))
    found = {cell[:2]: (cell[2], share) for cell, share in zip(cells, confusion.shares.tolist(), strict=True)}
    whole = confusion.classes <= TABLE
    labels = range(confusion.classes) if whole else _worst(confusion)
    rows = tuple(tuple(Cell(*found.get((true, other), (0, 0.0)), true == other) for other in labels) for true in labels)
    return Matrix(tuple(labels), rows, "", ()) if whole else Matrix(tuple(labels), rows, _image(confusion), cells)


def most_confused(confusion: Confusion) -> list[tuple[int, int, int]]:
    """Pairs of a true and a predicted class that differ, with their images, those with the most first."""
    pairs = _cells(confusion, np.argsort(-confusion.images, kind="stable"))
    return [pair for pair in pairs if pair[0] != pair[1]]


def _cells(confusion: Confusion, order: Indices | slice) -> Iterator[tuple[int, int, int]]:
    """The true class, the predicted one, and the images of cells."""
    columns = (confusion.true, confusion.predicted, confusion.images)
    return zip(*(column[order].tolist() for column in columns), strict=True)


def _worst(confusion: Confusion) -> list[int]:
    """The classes with most mistakes, in their order: seeds are the most confused pairs, so that both are there."""
    confused = (label for pair in most_confused(confusion) for label in pair[:2])
    return sorted([*dict.fromkeys(itertools.chain(confused, range(confusion.classes)))][:WORST])


def _image(confusion: Confusion) -> str:
    """A pixel per cell, the more opaque the larger its share; of very many classes, a few pixels."""
    from scipy.ndimage import maximum_filter

    # A few images that are confused would be too pale to be seen, and a pixel of very many too small.
    opaque, is_right = 0.3 + 0.7 * np.sqrt(confusion.shares), confusion.true == confusion.predicted
    width = 1 + 2 * (min(confusion.classes, EDGE) // 300)
    opacity = {
        colour: maximum_filter(confusion.laid_out(np.where(cells, opaque, 0), EDGE), width)
        for colour, cells in ((RIGHT, is_right), (WRONG, ~is_right))
    }
    pixels = np.zeros((*opacity[RIGHT].shape, 4), np.uint8)
    pixels[..., :3] = np.where((opacity[RIGHT] >= opacity[WRONG])[..., None], RIGHT, WRONG)
    pixels[..., 3] = np.round(255 * np.maximum(*opacity.values()))
    return data_url(pixels, "PNG", optimize=True)
