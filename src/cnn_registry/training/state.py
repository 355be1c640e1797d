"""Where a training stands, and all that it needs to go on from there as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.errors import RunError

from .history import Epoch

if TYPE_CHECKING:
    import keras

    from .callbacks import WeightAverage

Arrays = Mapping[str, Sequence[np.ndarray]]
"""The values of variables, by what they belong to."""


@dataclass
class Progress:
    """How far a training has come. It changes with every step.

    Attributes:
        steps_per_epoch: batches an epoch.
        step: steps done since the beginning.
        seconds: spent on those of the epoch that has begun.
        history: the epochs that have ended.
    """

    steps_per_epoch: int
    step: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs that have ended."""
        return len(self.history)

    @property
    def batch(self) -> int:
        """Steps done of the epoch that has begun."""
        return self.step - self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Snapshot:
    """A training at one step.

    Attributes:
        step, seconds, history: as in `Progress`.
        updates: of the average of weights.
        arrays: ``"model"`` (weights, statistics, states of random generators), ``"optimizer"``, ``"metrics"`` (running
            sums of the epoch that has begun) and ``"average"``.
    """

    step: int
    seconds: float
    history: tuple[Epoch, ...]
    updates: int
    arrays: Arrays

    @property
    def is_finite(self) -> bool:
        """Whether no weight and no state of the optimizer is infinite or not a number."""
        values = [*self.arrays["model"], *self.arrays["optimizer"]]
        return all(np.isfinite(value).all() for value in values)


@dataclass(frozen=True)
class Training:
    """The parts of a training that change: together they are its state.

    Attributes:
        model: compiled, with a built optimizer.
        progress: see there.
        average: of the weights, if there is one.
    """

    model: keras.Model
    progress: Progress
    average: WeightAverage | None

    def snapshot(self) -> Snapshot:
        """The state between two steps."""
        progress, average = self.progress, self.average
        return Snapshot(
            progress.step,
            progress.seconds,
            tuple(progress.history),
            average.updates if average else 0,
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
            self.average.updates = snapshot.updates
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
        return {
            "model": self.model.variables,
            "optimizer": self.model.optimizer.variables,
            "metrics": self.model.metrics_variables,
            "average": self.average.averages if self.average else [],
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
