"""The confusion matrix, as the cells that have images: of thousands of classes, nearly all have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnn_registry.data.dataset import Indices

FEW = 100
"""Classes up to which all cells are written, so that the matrix is simple to read."""

AS_ROWS = 5
"""The cells of a whole matrix that take as much room as one with its classes beside it."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """How many images of each class were predicted as each class.

    Attributes:
        classes: how many there are.
        true, predicted: the classes of each cell that has images, ``(cells,)``, row by row.
        images: how many, ``(cells,)``.
    """

    classes: int
    true: Indices
    predicted: Indices
    images: Indices

    @classmethod
    def of_predictions(cls, labels: Indices, predictions: Indices, classes: int) -> Self:
        """The matrix of the true classes of images, ``(N,)``, and those that were predicted."""
        cells, images = np.unique(labels.astype(np.int64) * classes + predictions, return_counts=True)
        return cls(classes, *np.divmod(cells, classes), images)

    @classmethod
    def of_rows(cls, rows: ArrayLike) -> Self:
        """The matrix whose rows are the true classes, int ``(classes, classes)``."""
        counts = np.asarray(rows, np.int64)
        true, predicted = np.nonzero(counts)
        return cls(len(counts), true, predicted, counts[true, predicted])

    @classmethod
    def of_cells(cls, classes: int, cells: Sequence[tuple[int, int, int]]) -> Self:
        """The matrix of ``[true, predicted, images]`` of each cell that has images, row by row."""
        return cls(classes, *np.array(cells, np.int64).reshape(-1, 3).T)

    @property
    def total(self) -> int:
        """The number of all images."""
        return int(self.images.sum())

    @property
    def of_true(self) -> Indices:
        """Images of each class, ``(classes,)``."""
        return self._by_class(self.true, self.images)

    @property
    def right(self) -> Indices:
        """Images of each class that were predicted as it, ``(classes,)``."""
        return self._by_class(self.true, np.where(self.true == self.predicted, self.images, 0))

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of its true class that each cell has, ``(cells,)``."""
        return np.asarray(self.images / self.of_true[self.true])

    def rows(self) -> Indices:
        """The whole matrix, ``(classes, classes)``, the true classes in rows."""
        whole = np.zeros((self.classes, self.classes), np.int64)
        whole[self.true, self.predicted] = self.images
        return whole

    def laid_out(self, values: NDArray[np.float64], edge: int) -> NDArray[np.float64]:
        """Values of the cells where these are in the matrix, and 0 elsewhere.

        Args:
            values: ``(cells,)``, none below 0.
            edge: rows and columns of a picture of the matrix. Where there are more classes, several share one, and the
                largest value counts.

        Returns:
            ``(size, size)``, where ``size`` is the number of classes, at most ``edge``.
        """
        size = min(self.classes, edge)
        picture = np.zeros((size, size))
        places = (self.true * size // self.classes, self.predicted * size // self.classes)
        np.maximum.at(picture, places, values)
        return picture

    def written(self) -> Any:
        """The matrix as JSON has it: its rows, or, of more than `FEW` classes and where that is shorter, its cells.

        Cells are ``{"classes": 1000, "cells": [[true, predicted, images], …]}``, with the classes' positions from 0.
        """
        if self.classes <= FEW or AS_ROWS * len(self.images) > self.classes**2:
            return self.rows().tolist()
        cells = np.column_stack([self.true, self.predicted, self.images])
        return {"classes": self.classes, "cells": cells.tolist()}

    def _by_class(self, labels: Indices, images: Indices) -> Indices:
        found = np.zeros(self.classes, np.int64)
        np.add.at(found, labels, images)
        return found
