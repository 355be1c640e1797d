"""``report.json``: everything that a report shows, as data."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cnn_registry.errors import RunError
from cnn_registry.inference.confusion import Confusion
from cnn_registry.inference.evaluation import Evaluation
from cnn_registry.runs.run import Run
from cnn_registry.system.files import check_own, read_regular
from cnn_registry.text import shorten

from .facts import DataFacts
from .measures import Calibration, Measure, calibration, measures_of_counts, measures_of_probabilities

MAX_BYTES = 2**28
"""The largest ``report.json`` that is read."""

MOST_IMAGES = 2**40
"""More than any cell of a confusion matrix has."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, populate_by_name=True)


class ClassFigures(_Part):
    """How well one class is recognised.

    Attributes:
        name: of the class.
        precision: share of the images predicted as this class that are of it.
        recall: share of its images that are recognised.
        f1: the harmonic mean of both.
        images: of the class.
        average_precision: area under the curve of precision over recall; ``None`` where an image shows one class, or no
            image shows this one.
        threshold: the probability from which the class counts as shown; ``None`` where an image shows one class.
    """

    name: str = Field(alias="class")
    precision: float
    recall: float
    f1: float
    images: int = Field(ge=0)
    average_precision: float | None = None
    threshold: float | None = None


class Predictions(_Part):
    """What was predicted for each image, in the order of the run's validation images.

    Attributes:
        labels: the true classes.
        predicted: the most probable ones.
        confidence: their probabilities.
        of_true: the probabilities of the true classes.
        hashes: the first 16 hexadecimal digits of the SHA-256 of the images' content; empty where it is not known.
    """

    labels: list[int]
    predicted: list[int]
    confidence: list[float]
    of_true: list[float]
    hashes: list[str]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        lengths = {len(self.labels), len(self.predicted), len(self.confidence), len(self.of_true)}
        if len(lengths) > 1 or len(self.hashes) not in (0, len(self.labels)):
            raise ValueError("expected a value for each image")
        return self


class Cells(_Part):
    """The cells of a confusion matrix that have images, where there are many classes.

    Attributes:
        classes: how many there are.
        cells: the true class, the predicted one, and the images, row by row.
    """

    classes: int
    cells: list[tuple[int, int, int]]

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        places = [cell[:2] for cell in self.cells]
        if any(not 0 <= place < self.classes for pair in places for place in pair):
            raise ValueError(f"expected cells of {self.classes} classes")
        if any(first >= second for first, second in itertools.pairwise(places)):
            raise ValueError("expected each cell once, row by row")
        if not all(0 < images < MOST_IMAGES for *_, images in self.cells):
            raise ValueError("expected counts in the confusion matrix")
        return self


class Summary(_Part):
    """The content of ``report.json``. What earlier versions did not write is absent.

    Attributes:
        part: what was evaluated, for people to read.
        images: how many.
        accuracy: share of images whose most probable class is the true one, or of which all labels are right.
        cross_entropy: mean, in nats, without label smoothing.
        classes: a row for each class.
        confusion: images by true class (rows) and predicted class, or the cells that have some, see
            `Confusion.written`; empty where an image may show several.
        remarks: what a headline accuracy hides, a line each.
        measures: further figures with their intervals, by name.
        calibration: see there.
        data: see there.
        predictions: see there.
    """

    part: str
    images: int = Field(ge=0)
    accuracy: float
    cross_entropy: float | None = Field(default=None, validation_alias=AliasChoices("cross_entropy", "loss"))
    classes: list[ClassFigures]
    confusion: list[list[int]] | Cells
    remarks: list[str] = Field(default_factory=list)
    measures: dict[str, Measure] = Field(default_factory=dict)
    calibration: Calibration | None = None
    data: DataFacts | None = None
    predictions: Predictions | None = None

    @property
    def multi_label(self) -> bool:
        """Whether an image may show several classes."""
        return any(row.threshold is not None for row in self.classes)

    @functools.cached_property
    def matrix(self) -> Confusion:
        """The confusion matrix."""
        found = self.confusion
        return Confusion.of_cells(found.classes, found.cells) if isinstance(found, Cells) else Confusion.of_rows(found)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        classes = len(self.classes)
        if self.multi_label and self.predictions:
            raise ValueError("expected no single predictions of images with several classes")
        found = self.confusion
        rows = found if isinstance(found, list) else []
        size = len(rows) if isinstance(found, list) else found.classes
        if size != (0 if self.multi_label else classes) or any(len(row) != classes for row in rows):
            raise ValueError(f"expected a confusion matrix of {classes} classes")
        if not all(0 <= count < MOST_IMAGES for row in rows for count in row):
            raise ValueError("expected counts in the confusion matrix")
        if self.data and any(len(part) != classes for part in (self.data.train, self.data.val, self.data.test)):
            raise ValueError(f"expected counts of {classes} classes")
        given = self.predictions
        if given and not all(0 <= label < classes for label in (*given.labels, *given.predicted)):
            raise ValueError(f"expected labels below {classes}")
        return self


def summarise(
    evaluation: Evaluation, hashes: Sequence[str], facts: DataFacts | None, remarks: Sequence[str]
) -> Summary:
    """Everything that is measured of an evaluation.

    Args:
        evaluation: of the best weights on the validation images.
        hashes: of the content of the images, as in `Predictions`.
        facts: of the dataset.
        remarks: see there.
    """
    if evaluation.thresholds is not None:
        return _of_several(evaluation, facts, remarks)
    report = evaluation.report()
    if not np.isfinite(evaluation.loss):
        del report["cross_entropy"], report["loss"]
    labels, probabilities, predicted = evaluation.labels, evaluation.probabilities, evaluation.predictions
    measures, calibrated = measures_of_counts(evaluation.confusion), None
    if np.isfinite(probabilities).all():
        measures |= measures_of_probabilities(labels, probabilities)
        calibrated = calibration(labels, probabilities)
    every = np.arange(len(labels))
    predictions = Predictions(
        labels=labels.tolist(),
        predicted=predicted.tolist(),
        confidence=_rounded(probabilities[every, predicted]),
        of_true=_rounded(probabilities[every, labels]),
        hashes=list(hashes),
    )
    return Summary(
        **report,
        remarks=list(remarks),
        measures=measures,
        calibration=calibrated,
        data=facts,
        predictions=predictions,
    )


def _of_several(evaluation: Evaluation, facts: DataFacts | None, remarks: Sequence[str]) -> Summary:
    """The summary where an image may show several classes."""
    report = evaluation.report()
    figures = ("accuracy", "mean_average_precision", "micro_f1", "macro_f1", "label_accuracy")
    measures = {key: Measure(report[key]) for key in figures if report[key] is not None}
    return Summary(
        **{key: report[key] for key in ("part", "images", "accuracy", "cross_entropy", "classes", "confusion")},
        remarks=list(remarks),
        measures=measures,
        data=facts,
    )


def _rounded(probabilities: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in np.nan_to_num(probabilities)]


def summary_text(summary: Summary) -> str:
    """A summary as JSON, with a line for each class and each row of the matrix."""
    data = summary.model_dump(mode="json", by_alias=True)
    data["loss"] = data["cross_entropy"]  # its older name
    lines = [f"  {json.dumps(key)}: {_json(value)}" for key, value in data.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
    return json.dumps(value)


def read_summary(run: Run) -> Summary | None:
    """The summary in a run directory; ``None`` where there is none.

    Raises:
        RunError: ``report.json`` is damaged, or of other classes than the run.
    """
    file: Path = run.path / "report.json"
    check_own(file)
    if not file.is_file():
        return None
    try:
        summary = Summary.model_validate_json(read_regular(file, MAX_BYTES))
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = shorten(".".join(map(str, first["loc"])), 100) or "the file"
        raise RunError(f"{file} is damaged: {where}: {first['msg']}.") from error
    if [row.name for row in summary.classes] != run.record.data.class_names:
        raise RunError(f"{file} is damaged: its classes are not those of run.json.")
    found = summary.predictions
    if found and len(found.labels) != len(run.record.validated):
        raise RunError(f"{file} is damaged: it has {len(found.labels)} predictions of {len(run.record.validated)}.")
    return summary
