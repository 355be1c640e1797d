"""What a model said of images, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_registry.system.extras import need
from cnn_registry.text import listing

from .confusion import Confusion


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions beside the truth.

    Attributes:
        class_names: in the order of the outputs.
        labels: int64 ``(N,)``, the true classes.
        probabilities: float32 ``(N, num_classes)``.
        part: what was evaluated, for people to read.
        thresholds: ``(num_classes,)``, the probability from which a class counts as shown, where an image may show
            several; else ``None``.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    part: str
    thresholds: np.ndarray | None = None

    @property
    def predictions(self) -> np.ndarray:
        """int64 ``(N,)``, the most probable classes."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is the true one."""
        return float((self.predictions == self.labels).mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats, without label smoothing."""
        true = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.maximum(true, 1e-7)).mean())

    @property
    def confusion(self) -> Confusion:
        """How many images of each class were predicted as each class."""
        return Confusion.of_predictions(self.labels, self.predictions, len(self.class_names))

    def remarks(self) -> list[str]:
        """What a headline accuracy hides: a model that guesses, and classes that it never recognises; a line each."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        guessing = counts.max() / max(counts.sum(), 1)
        remarks = []
        if self.accuracy <= guessing:
            remarks.append(
                f"An accuracy of {self.accuracy:.1%} is not better than guessing: always naming the most frequent "
                f"class is right for {guessing:.1%} of the {self.part}. Try a lower learning rate, or more epochs."
            )
        right = np.bincount(self.labels[self.predictions == self.labels], minlength=len(counts))
        missed = [self.class_names[label] for label in np.flatnonzero((counts > 0) & (right == 0))]
        if missed and len(counts) > 2:
            remarks.append(never_recognised(missed, int(np.count_nonzero(counts))))
        return remarks

    def report(self) -> dict[str, Any]:
        """The accuracy, the loss, the confusion matrix, and per class precision, recall, F1 and number of images.

        The matrix is a list of rows, the true classes. With more than 100 classes, and where that is shorter, it is a
        dict of the cells that have images: ``{"classes": 1000, "cells": [[true, predicted, images], ...]}``.

        Raises:
            MissingPackageError: scikit-learn is not installed.
        """
        need("A report of an evaluation", "sklearn")
        from sklearn.metrics import precision_recall_fscore_support

        classes = list(range(len(self.class_names)))
        columns = precision_recall_fscore_support(self.labels, self.predictions, labels=classes, zero_division=0.0)
        rows = zip(self.class_names, *columns, strict=True)
        return {
            "part": self.part,
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "cross_entropy": self.loss,
            "loss": self.loss,  # its older name, which reads like the val_loss of a history, which is smoothed
            "classes": [
                {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
                for name, p, r, f, n in rows
            ],
            "confusion": self.confusion.written(),
        }


def never_recognised(names: Sequence[str], total: int) -> str:
    """The sentence about classes that no image was recognised as.

    Args:
        names: theirs.
        total: classes that some image shows.
    """
    verb = "is" if len(names) == 1 else "are"
    return f"{len(names)} of {total} classes {verb} never recognised: {listing(names, 5)}."
