"""Whether an exported file predicts what the network predicts, and what it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from cnn_registry.data.dataset import Bytes, Indices
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.errors import ExportError
from cnn_registry.system.progress import progress
from cnn_registry.text import counted

from .formats import WeightPrecision

Predict = Callable[[Bytes], np.ndarray]
"""Probabilities, float32 ``(N, classes)``, of uint8 ``(N, height, width, channels)``."""

BATCH = 32
"""Images at a time, in the comparison and where the time per image of a batch is measured."""

LARGEST_DIFFERENCE: dict[WeightPrecision, float] = {"float32": 1e-4, "float16": 1e-2}
"""How far a probability may be from the network's."""

LEAST_AGREEMENT: dict[WeightPrecision, float] = {"int8": 0.9}
"""The share of images whose most probable class must be the network's."""

ROUNDS = 4
IN_A_ROW = 5
"""Rounds of a measurement of time, and calls in a row of each predictor in a round."""

PATIENCE = 1.0
"""Seconds after which a measurement of time ends, once each predictor was called."""


@dataclass(frozen=True)
class Sample:
    """The images of a check.

    Attributes:
        images: the decoded images.
        indices: those to check with.
        part: what they are, for people to read.
        thresholds: ``(num_classes,)``, the probability from which each class counts as shown, where an image may show
            several; else ``None``.
    """

    images: LoadedImages
    indices: Indices
    part: str
    thresholds: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """The true classes, as `ImageDataset` has them."""
        return np.asarray(self.images.dataset.labels[self.indices])

    def read(self, count: int) -> Bytes:
        """The first ``count`` images, or all if there are fewer."""
        return np.asarray(self.images.source.read(self.indices[:count]))

    def batches(self) -> Iterator[Bytes]:
        """All images, `BATCH` at a time."""
        for start in range(0, len(self.indices), BATCH):
            yield self.images.source.read(self.indices[start : start + BATCH])


@dataclass(frozen=True)
class Measurement:
    """What one form of a network says of the images of a check, and what it costs.

    Attributes:
        name: which form.
        size: bytes on disk.
        ms_single: milliseconds for one image.
        ms_batch: milliseconds per image in a batch of up to 32.
        accuracy: share of images whose most probable class is the true one; where an image may show several classes,
            of images whose labels are all right at the run's thresholds, as `cnn_registry.evaluate` has it.
        largest_difference: from the trained network's probabilities.
        agreement: share of images whose most probable class is the trained network's, or of such labels.
    """

    name: str
    size: int
    ms_single: float
    ms_batch: float
    accuracy: float
    largest_difference: float
    agreement: float


def measured(
    trained: Predict, exported: Predict, sample: Sample, *, names: tuple[str, str], sizes: tuple[int, int]
) -> tuple[Measurement, Measurement]:
    """Compare two forms of a network.

    Args:
        trained, exported: the forms.
        sample: the images to run.
        names, sizes: of both.
    """
    count = len(sample.indices)
    shown = (
        progress(f"Checking with {counted(count, 'image')}", count) if count > BATCH else nullcontext(lambda done: None)
    )
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    with shown as advance:
        for batch in sample.batches():
            pairs.append((trained(batch), exported(batch)))
            advance(len(batch))
    expected, came = (np.concatenate(column) for column in zip(*pairs, strict=True))
    if came.shape != expected.shape:
        raise ExportError(f"{names[1]} has outputs of shape {came.shape}; expected {expected.shape}.")
    few = sample.read(BATCH)
    singles, batches = (milliseconds((trained, exported), few[:many]) for many in (1, BATCH))
    first, second = (
        Measurement(
            name=name,
            size=size,
            ms_single=single,
            ms_batch=per_image,
            accuracy=_accuracy(_decided(outputs, sample), sample.labels),
            largest_difference=float(np.abs(outputs - expected).max()),  # NaN where there is one
            agreement=float((_decided(outputs, sample) == _decided(expected, sample)).mean()),
        )
        for name, size, single, per_image, outputs in zip(names, sizes, singles, batches, (expected, came), strict=True)
    )
    return first, second


def _decided(outputs: np.ndarray, sample: Sample) -> np.ndarray:
    """The most probable classes, ``(N,)``; or, as ``(N, num_classes)``, those that reach their thresholds."""
    return np.asarray(outputs.argmax(1) if sample.thresholds is None else outputs >= sample.thresholds)


def _accuracy(decided: np.ndarray, labels: np.ndarray) -> float:
    right = decided == labels
    return float((right if right.ndim == 1 else right.all(axis=1)).mean())


def milliseconds(predictors: Sequence[Predict], images: Bytes) -> list[float]:
    """The median time per image of each.

    They are measured alternately, so that other work on the machine meets all of them, and several times in a row,
    because the threads of another runtime wait busily for a moment after a call. A first call, which prepares, does not
    count.
    """
    took: list[list[float]] = [[] for _ in predictors]
    for predict in predictors:
        predict(images)
    ends = time.perf_counter() + PATIENCE
    for _ in range(ROUNDS):
        for predict, times in zip(predictors, took, strict=True):
            for _ in range(IN_A_ROW):
                if times and time.perf_counter() > ends:
                    break
                start = time.perf_counter()
                predict(images)
                times.append(time.perf_counter() - start)
    return [1000 * statistics.median(times) / len(images) for times in took]


def bound(precision: WeightPrecision) -> str:
    """What is demanded of a precision, as half a sentence."""
    if precision in LARGEST_DIFFERENCE:
        return f"no probability may differ by more than {LARGEST_DIFFERENCE[precision]:g}"
    return f"the most probable class must be the same for at least {LEAST_AGREEMENT[precision]:.0%} of the images"


def refuse_disagreement(found: Measurement, precision: WeightPrecision, sample: Sample) -> None:
    """Refuse an export that does not predict what the network predicts.

    Raises:
        ExportError: it does not.
    """
    differs = not found.largest_difference <= LARGEST_DIFFERENCE.get(precision, np.inf)  # true for NaN
    if differs or found.agreement < LEAST_AGREEMENT.get(precision, 0):
        helps = "" if precision == "float32" else " Use --precision float32."
        raise ExportError(
            f"{found.name} does not predict what the trained network predicts: the largest difference is "
            f"{found.largest_difference:.2g}, and {found.agreement:.1%} of {len(sample.indices)} {sample.part} have "
            f"the same class; {bound(precision)}. Nothing was written.{helps}"
        )
