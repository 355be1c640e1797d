"""The parts of a training that change, and how they are saved and restored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnn_registry import backend
from cnn_registry.errors import RunError
from cnn_registry.runs.progress import TrainingProgress
from cnn_registry.runs.snapshot import Snapshot

if TYPE_CHECKING:
    import keras


class Average(Protocol):
    """The part of an average of weights that belongs to a training's state; see `WeightAverage`."""

    weights: list[keras.Variable]
    averages: list[keras.Variable]
    read: int
    in_place: bool

    def swap_in(self) -> None:
        """Give the model the averages."""
        ...


@dataclass(frozen=True)
class Training:
    """The parts of a training that change: together they are its state.

    Attributes:
        model: compiled, with a built optimizer.
        progress: see there.
        average: of the weights, if there is one.
    """

    model: keras.Model
    progress: TrainingProgress
    average: Average | None

    def snapshot(self) -> Snapshot:
        """The state between two steps."""
        progress, average = self.progress, self.average
        return Snapshot(
            progress.step,
            progress.seconds,
            tuple(progress.history),
            average.read if average else 0,
            {name: [np.array(value) for value in values] for name, values in self._variables().items()},
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take up the state of ``snapshot``, but for the metrics, see `add_metrics`.

        Raises:
            RunError: it is of another network or optimizer.
        """
        own = self._variables()
        for name in ("model", "optimizer", "average"):
            _assign(own[name], snapshot.arrays[name], name)
        if self.average:
            self.average.read = snapshot.averaged
        self.progress.step, self.progress.seconds = snapshot.step, snapshot.seconds
        self.progress.history[:] = snapshot.history

    def add_metrics(self, snapshot: Snapshot) -> None:
        """Add the running sums of the epoch that had begun to those of its first step after that.

        Keras makes them in that step, not before. It would have added the same number to the same sum.

        Raises:
            RunError: they are of other metrics.
        """
        sums = self._variables()["metrics"]
        saved = snapshot.arrays["metrics"]
        _assign(sums, [value + np.array(own) for value, own in zip(saved, sums, strict=False)], "metrics")

    def _variables(self) -> dict[str, list[Any]]:
        """The variables that hold each part of the state."""
        weights, averages = (self.average.weights, self.average.averages) if self.average else ([], [])
        holders = {id(weight): weight for weight in self.model.variables}
        if self.average and self.average.in_place:
            holders |= {id(weight): average for weight, average in zip(weights, averages, strict=True)}
            averages = weights
        return {
            "model": list(holders.values()),
            "optimizer": self.model.optimizer.variables,
            "metrics": self.model.metrics_variables,
            "average": averages,
        }


def _assign(variables: Sequence[Any], values: Iterable[np.ndarray], what: str) -> None:
    values = list(values)
    own, saved = ([(tuple(item.shape), str(item.dtype)) for item in items] for items in (variables, values))
    if own != saved:
        differs = next((pair for pair in zip(own, saved, strict=False) if pair[0] != pair[1]), (len(own), len(saved)))
        raise RunError(
            f"The checkpoint is of another training: its {what} has {differs[1]} where {differs[0]} is needed."
        )
    convert = backend.keras().ops.convert_to_tensor
    for variable, value in zip(variables, values, strict=True):
        variable.assign(convert(value, variable.dtype))
