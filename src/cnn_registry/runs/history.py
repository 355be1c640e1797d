"""What is measured in each epoch of a training."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cnn_registry.errors import RunError
from cnn_registry.recipes.schema import BestBy
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import check_own, read_regular
from cnn_registry.text import one_line

MAX_BYTES = 2**24
"""The largest ``history.csv`` that is read: more than a hundred thousand epochs."""


@dataclass(frozen=True)
class Epoch:
    """One row of ``history.csv``.

    Attributes:
        epoch: counted from 1.
        loss, accuracy: over the training images, while the weights were changing.
        val_loss, val_accuracy: over the validation images, at the end of the epoch.
        learning_rate: at the end of the epoch.
        seconds: spent on the training steps.
        images_per_second: training images by those seconds.
        metrics: the recipe's own metrics by name, those over the validation images as ``val_`` and the name.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON-ready data."""
        row = asdict(self)
        return row if row["metrics"] else {name: row[name] for name in MEASURED}

    def line(self, epochs: int, width: int = 80) -> str:
        """The epoch as one plain line of at most ``width`` letters, unless it must be longer.

        Its figures have three digits after the point if there is no room for four; seconds, images/s and the learning
        rate are added if all of them fit. ``history.csv`` has everything.

        Args:
            epochs: of the whole training.
            width: letters for which there is room.
        """
        room = width - len(f"epoch {epochs}/{epochs}")
        rest = self._figures(6)
        if len(rest) > room:
            rest = self._figures(5)
        more = f"  rate {self.learning_rate:.2g}  {self.images_per_second:.1f} images/s  {self.seconds:.0f} s"
        return f"epoch {self.epoch}/{epochs}{rest}{more if len(rest + more) <= room else ''}"

    def _figures(self, letters: int) -> str:
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        return "".join(f"  {name} {_figure(getattr(self, name), letters)}" for name in names)


def _figure(value: float, letters: int) -> str:
    """``value`` rounded to so many letters."""
    for digits in range(letters - 2, -1, -1):
        text = f"{value:.{digits}f}"
        if len(text) <= letters:
            return text
    return f"{value:.0e}"


MEASURED = tuple(item.name for item in fields(Epoch) if item.name != "metrics")
"""The columns of each history; those of the recipe's own metrics follow."""


def csv_text(history: Sequence[Epoch]) -> str:
    """The history as CSV with a header."""
    own = list(history[0].metrics) if history else []
    rows = [",".join((*MEASURED, *own))]
    for epoch in history:
        values = [*(getattr(epoch, name) for name in MEASURED), *(epoch.metrics.get(name, math.nan) for name in own)]
        rows.append(",".join(f"{value:.8g}" for value in values))
    return "\n".join(rows) + "\n"


@checked_arguments
def read_history(path: str | Path) -> list[Epoch]:
    """The rows of a run's history.

    Args:
        path: the run's ``history.csv``.

    Raises:
        RunError: it cannot be read, is a link, or is not what a training writes.
    """
    import csv

    path = Path(path)
    check_own(path)
    try:
        text = io.StringIO(read_regular(path, MAX_BYTES).decode(), newline="")
        header, *rows = list(csv.reader(text, strict=True)) or [[]]
        if tuple(header[: len(MEASURED)]) != MEASURED or len(set(header)) < len(header):
            raise RunError(f"{path} is not a history: expected the columns {', '.join(MEASURED)}.")
        return [_epoch(row, number, header) for number, row in enumerate(rows, start=1)]
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path} is damaged: {one_line(error)}.") from error


def _epoch(row: Sequence[str], number: int, header: Sequence[str]) -> Epoch:
    """Row ``number``, from 1, which is of that epoch.

    Raises:
        ValueError: it has another form.
    """
    if len(row) != len(header) or float(row[0]) != number:
        raise ValueError(f"row {number} is not of epoch {number}")
    values_of = dict(zip(header, map(float, row), strict=True))
    own = {name: value for name, value in values_of.items() if name not in MEASURED}
    values: dict[str, Any] = {name: values_of[name] for name in MEASURED[1:]}
    return Epoch(epoch=number, **values, metrics=own)


BEST = {
    "val_loss": "lowest val_loss",
    "accuracy": "highest val_accuracy",
    "balanced_accuracy": "highest val_balanced_accuracy",
    "macro_f1": "highest val_macro_f1",
    "last": "last epoch",
}
"""What the best epoch has, by the recipe's ``best_by``."""

WATCHED = {
    "val_loss": "validation loss",
    "accuracy": "validation accuracy",
    "balanced_accuracy": "balanced validation accuracy",
    "macro_f1": "macro F1 of the validation images",
    "last": "number",
}
"""What epochs are compared by, for people."""


def measure_of(epoch: Epoch, by: BestBy) -> float:
    """The measure by which an epoch is compared with others; NaN where it was not measured."""
    match by:
        case "val_loss":
            return epoch.val_loss
        case "accuracy":
            return epoch.val_accuracy
        case "last":
            return float(epoch.epoch)
    return epoch.metrics.get(f"val_{by}", math.nan)


def _cost(epoch: Epoch, by: BestBy) -> float:
    """The measure as a number that is lower in a better epoch; infinite if it is NaN."""
    value = measure_of(epoch, by)
    if math.isnan(value):
        return math.inf
    return value if by == "val_loss" else -value


def best_epoch(history: Sequence[Epoch], by: BestBy = "val_loss") -> Epoch:
    """The best epoch by that measure; the first of equals, and the first one if none is a number."""
    return min(history, key=lambda epoch: _cost(epoch, by))


def stalls(history: Sequence[Epoch], patience: int, by: BestBy = "val_loss") -> int:
    """How often the measure has not improved for ``patience`` epochs in a row."""
    lowest, waited, count = math.inf, 0, 0
    for cost in (_cost(epoch, by) for epoch in history):
        lowest, waited = (cost, 0) if cost < lowest else (lowest, waited + 1)
        if waited == patience:
            waited, count = 0, count + 1
    return count


def has_stalled(history: Sequence[Epoch], patience: int, min_delta: float, by: BestBy = "val_loss") -> bool:
    """Whether the measure has not improved by more than ``min_delta`` for ``patience`` epochs.

    It is compared with the best one that counted as an improvement, as Keras' ``EarlyStopping`` does.
    """
    lowest, waited = math.inf, 0
    for cost in (_cost(epoch, by) for epoch in history):
        lowest, waited = (cost, 0) if cost < lowest - min_delta else (lowest, waited + 1)
    return waited >= patience
