"""How well a model does on images that may show several classes, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_registry.system.extras import need

from .evaluation import Evaluation, never_recognised


@dataclass(frozen=True)
class MultiLabelEvaluation(Evaluation):
    """Predictions beside the truth, where an image may show several classes.

    Attributes:
        labels: ``(N, num_classes)``, 1 for each class that an image shows.
        probabilities: float32 ``(N, num_classes)``, each from 0 to 1.
        thresholds: ``(num_classes,)``, the probability from which a class counts as shown; ``None`` for those with the
            highest F1 on these images.
    """

    def __post_init__(self) -> None:
        if self.thresholds is None:
            object.__setattr__(self, "thresholds", best_thresholds(self.labels, self.probabilities))

    @property
    def predictions(self) -> np.ndarray:
        """bool ``(N, num_classes)``, the classes whose probability reaches their threshold."""
        return np.asarray(self.probabilities >= self.thresholds)

    @property
    def accuracy(self) -> float:
        """Share of images of which all labels are right."""
        return float((self.predictions == self.labels).all(axis=1).mean())

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy of a label in nats, without label smoothing."""
        right = np.where(self.labels, self.probabilities, 1 - self.probabilities)
        return float(-np.log(np.maximum(right, 1e-7)).mean())

    @property
    def average_precisions(self) -> NDArray[np.float64]:
        """``(num_classes,)``, the average precision of each class; NaN for one that no image shows.

        Raises:
            MissingPackageError: scikit-learn is not installed.
        """
        need("A report of an evaluation", "sklearn")
        from sklearn.metrics import average_precision_score

        shown = self.labels.any(axis=0)
        found = np.full(len(self.class_names), np.nan)
        for label in np.flatnonzero(shown):
            found[label] = average_precision_score(self.labels[:, label], self.probabilities[:, label])
        return found

    @property
    def mean_average_precision(self) -> float:
        """Mean of the average precisions of the classes that some image shows (mAP); NaN where there is none."""
        found = self.average_precisions
        return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")

    def remarks(self) -> list[str]:
        """Classes that are never recognised, in a line."""
        shown, found = self.labels.any(axis=0), (self.predictions & (self.labels > 0)).any(axis=0)
        missed = [self.class_names[label] for label in np.flatnonzero(shown & ~found)]
        return [never_recognised(missed, int(np.count_nonzero(shown)))] if missed else []

    def report(self) -> dict[str, Any]:
        """Exact matches, mAP, F1, loss, and per class average precision, threshold, precision, recall, F1 and images.

        Raises:
            MissingPackageError: scikit-learn is not installed.
        """
        true, predicted = self.labels > 0, self.predictions
        right, shown, said = (values.sum(axis=0) for values in (true & predicted, true, predicted))
        precision, recall = _ratio(right, said), _ratio(right, shown)
        f1, average = _ratio(2 * right, said + shown), self.average_precisions
        assert self.thresholds is not None
        rows = zip(self.class_names, precision, recall, f1, shown, average, self.thresholds, strict=True)
        known = shown > 0
        return {
            "part": self.part,
            "images": len(true),
            "accuracy": self.accuracy,
            "mean_average_precision": _finite(self.mean_average_precision),
            "micro_f1": float(_ratio(2 * right.sum(), said.sum() + shown.sum())),
            "macro_f1": float(f1[known].mean()) if known.any() else 0.0,
            "label_accuracy": float((true == predicted).mean()),
            "cross_entropy": self.loss,
            "loss": self.loss,
            "classes": [
                {
                    "class": name,
                    "precision": float(p),
                    "recall": float(r),
                    "f1": float(f),
                    "images": int(n),
                    "average_precision": _finite(a),
                    "threshold": float(t),
                }
                for name, p, r, f, n, a, t in rows
            ],
            "confusion": [],
        }


def best_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> NDArray[np.float64]:
    """For each class the probability from which its F1 is highest, halfway to the next lower one; 0.5 without images.

    Args:
        labels: ``(N, num_classes)``, 1 for each class that an image shows.
        probabilities: ``(N, num_classes)``.
    """
    found = np.full(labels.shape[1], 0.5)
    for label in np.flatnonzero(labels.any(axis=0)):
        order = np.argsort(-probabilities[:, label], kind="stable")
        sure, right = probabilities[order, label].astype(float), labels[order, label].cumsum()
        f1 = 2 * right / (np.arange(1, len(order) + 1) + right[-1])
        ends = np.append(sure[1:] < sure[:-1], True)  # equal probabilities cannot be divided
        best = int(np.where(ends, f1, -1).argmax())
        lower = sure[best + 1] if best + 1 < len(sure) else 0.0
        found[label] = (sure[best] + lower) / 2
    return np.asarray(np.clip(np.nan_to_num(found, nan=0.5), 0.0, 1.0))


def _ratio(part: Any, whole: Any) -> Any:
    """``part / whole``, 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
