"""The parts of a training that change, and how they are saved and restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.strategy import Distribution
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.snapshot import ArraySpec, Layout, Snapshot, matched, unique
from cnn_registry.runs.training_progress import TrainingProgress

from .recipe_callbacks import Callbacks, restore_states, states

if TYPE_CHECKING:
    import keras

Variables = Mapping[str, Any]
"""Variables by their paths."""


class Values(Mapping[str, np.ndarray]):
    """The values of variables by their paths, which change with the variables."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables

    def __getitem__(self, path: str) -> np.ndarray:
        variable = self._variables[path]
        try:
            return np.asarray(memoryview(backend.tensorflow().convert_to_tensor(variable.value)))
        except ValueError:  # bfloat16, which buffers cannot name
            return _numpy(variable)

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


class Average(Protocol):
    """The part of an average of weights that belongs to a training's state; see `WeightAverage`."""

    weights: list[keras.Variable]
    averages: list[keras.Variable]
    begins_after: int
    read: int
    in_place: bool

    def swap_in(self) -> None:
        """Give the model the averages."""
        ...


@dataclass(frozen=True)
class TrainingState:
    """The parts of a training that change: together they are its state.

    Attributes:
        model: compiled, with a built optimizer.
        progress: see there.
        average: the average of its weights, if there is one.
        callbacks: those that the recipe lists.
    """

    model: keras.Model
    progress: TrainingProgress
    average: Average | None
    callbacks: Callbacks

    def layout(self) -> Layout:
        """What a checkpoint of this training holds, except for the metrics, which Keras makes in the first step."""
        groups = {name: _specs(group) for name, group in self._variables().items() if name != "metrics"}
        return Layout(self.progress.steps_per_epoch, groups)

    def snapshot(self) -> Snapshot:
        """A copy of the state between two steps."""
        view = self.view()
        return replace(view, arrays={name: _copied(values) for name, values in view.arrays.items()})

    def view(self) -> Snapshot:
        """The state between two steps, which holds until the next one: its arrays are the variables' own memory.

        With Adam, a copy would need three times the memory of the weights.
        """
        progress, average = self.progress, self.average
        return Snapshot(
            progress.step,
            progress.seconds,
            tuple(progress.history),
            (average.begins_after, average.read) if average else (0, 0),
            {name: Values(group) for name, group in self._variables().items()},
            states(self.callbacks),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Resume the state of ``snapshot``, which has this training's `layout`; for its metrics see `add_metrics`."""
        own = self._variables()
        for name in ("model", "optimizer", "average"):
            for path, variable in own[name].items():
                _assign(variable, snapshot.arrays[name][path])
        if self.average:
            self.average.begins_after, self.average.read = snapshot.averaged
        self.progress.step, self.progress.seconds = snapshot.step, snapshot.seconds
        self.progress.history[:] = snapshot.history
        restore_states(self.callbacks, snapshot.callbacks)

    def share(self, distribution: Distribution) -> None:
        """Begin all processes with the chief's values."""
        if distribution.kind != "multiworker":
            return
        own = self._variables()
        for name in ("model", "optimizer", "average"):
            variables = list(own[name].values())
            for variable, value in zip(
                variables, distribution.broadcast_arrays([_numpy(item) for item in variables]), strict=True
            ):
                _assign(variable, value)

    def add_metrics(self, snapshot: Snapshot) -> None:
        """Add the running sums of the epoch that had begun to those of its first step after that.

        Keras makes them in that step, not before. It would have added the same number to the same sum.

        Raises:
            RunError: they are those of other metrics.
        """
        sums, saved = self._variables()["metrics"], snapshot.arrays["metrics"]
        specs = [ArraySpec(path, value.shape, value.dtype.name) for path, value in saved.items()]
        values = list(saved.values())
        for variable, position in zip(sums.values(), matched(_specs(sums), specs, "metrics"), strict=True):
            _assign(variable, values[position] + _numpy(variable))

    def _variables(self) -> dict[str, Variables]:
        """The variables that hold each part of the state."""
        weights, averages = (self.average.weights, self.average.averages) if self.average else ([], [])
        holders = {id(weight): weight for weight in self.model.variables}
        if self.average and self.average.in_place:
            holders |= {id(weight): average for weight, average in zip(weights, averages, strict=True)}
            averages = weights
        optimizer = _named(self.model.optimizer.variables)
        return {
            "model": _named(self.model.variables, list(holders.values())),
            # A path begins with the optimizer's name, which Keras numbers.
            "optimizer": {path.partition("/")[2] or path: variable for path, variable in optimizer.items()},
            "metrics": _named(self.model.metrics_variables),
            "average": _named(weights, averages),
        }


def shared_snapshot(distribution: Distribution, read: Callable[[], Snapshot | None]) -> Snapshot | None:
    """The snapshot that the chief reads, in all processes.

    Args:
        distribution: the processes.
        read: called in the chief.

    Raises:
        ClusterError: it fails there.
    """
    if distribution.kind != "multiworker":
        return read()
    found: list[Snapshot | None] = []

    def described() -> dict[str, Any] | None:
        found.append(read())
        return None if found[0] is None else _described(found[0])

    facts = distribution.broadcast_from_chief(described)
    if facts is None:
        return None
    own = found[0] if found else None
    arrays: dict[str, dict[str, np.ndarray]] = {}
    for group, listed in facts["arrays"].items():
        specs = [ArraySpec(path, tuple(shape), kind) for path, shape, kind in listed]
        values = [own.arrays[group][spec.path] if own else np.empty(spec.shape, spec.numpy_type) for spec in specs]
        arrays[group] = dict(zip([spec.path for spec in specs], distribution.broadcast_arrays(values), strict=True))
    history = tuple(Epoch(**row) for row in facts["history"])
    averaged = (facts["averaged"][0], facts["averaged"][1])
    return Snapshot(facts["step"], facts["seconds"], history, averaged, arrays, facts["callbacks"])


def _described(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "step": snapshot.step,
        "seconds": snapshot.seconds,
        "history": [row.to_dict() for row in snapshot.history],
        "averaged": snapshot.averaged,
        "callbacks": dict(snapshot.callbacks),
        "arrays": {
            group: [(path, value.shape, value.dtype.name) for path, value in values.items()]
            for group, values in snapshot.arrays.items()
        },
    }


def _named(variables: Sequence[Any], holders: Sequence[Any] | None = None) -> Variables:
    """Variables, or what holds their values, by the paths of the variables."""
    return dict(zip(unique(variable.path for variable in variables), holders or variables, strict=True))


def _copied(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {path: np.array(value) for path, value in arrays.items()}


def _specs(variables: Variables) -> list[ArraySpec]:
    return [ArraySpec(path, tuple(item.shape), str(item.dtype)) for path, item in variables.items()]


def _numpy(variable: Any) -> np.ndarray:
    value: np.ndarray = backend.keras().ops.convert_to_numpy(variable)
    return value


def _assign(variable: Any, value: np.ndarray) -> None:
    variable.assign(backend.keras().ops.convert_to_tensor(value, variable.dtype))
