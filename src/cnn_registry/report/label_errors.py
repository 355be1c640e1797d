"""Labels that are likely wrong, by predictions of networks that were not trained on the images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LabelError(NamedTuple):
    """A label that is likely wrong.

    Attributes:
        number: the position of the image.
        suggested: the class that it more likely has.
        margin: the probability of its label less that of ``suggested``.
    """

    number: int
    suggested: int
    margin: float


def label_errors(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> list[LabelError]:
    """Images that count for another class than their label in the confident joint; the likeliest errors first.

    An image counts for a class if its probability reaches the mean over the images with that label, and for the most
    probable one of several such classes: Northcutt, Jiang and Chuang 2021, Confident Learning
    (https://doi.org/10.1613/jair.1.12125), section 3.1.

    Args:
        labels: ``(N,)``, the given classes.
        probabilities: ``(N, num_classes)``, of networks that were not trained on the images, such as those of a
            cross-validation.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = np.bincount(labels, probabilities[np.arange(len(labels)), labels], minlength=probabilities.shape[1])
    thresholds = np.divide(own, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    reached = probabilities >= thresholds
    best = np.where(reached, probabilities, -1.0).argmax(axis=1)
    found = np.flatnonzero(reached.any(axis=1) & (best != labels))
    margins = probabilities[found, labels[found]] - probabilities[found, best[found]]
    order = np.argsort(margins, kind="stable")
    return [LabelError(int(found[place]), int(best[found[place]]), float(margins[place])) for place in order]
