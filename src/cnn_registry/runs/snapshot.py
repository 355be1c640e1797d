"""The state of a training at one step: all that it needs to continue as if nothing had happened."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cnn_registry.errors import RunError
from cnn_registry.text import shorten

from .history import Epoch


class ArraySpec(NamedTuple):
    """The form of a variable's value.

    Attributes:
        path: the variable's name within its layers, for instance ``"conv1/kernel"``; no other in its group has it.
        shape: its shape.
        dtype: its type, for instance ``"float32"``.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numpy_type(self) -> np.dtype:
        """NumPy's type of the value.

        Raises:
            TypeError: there is none of that name.
        """
        try:
            return np.dtype(self.dtype)
        except TypeError:
            import ml_dtypes

            return np.dtype(getattr(ml_dtypes, self.dtype, None) or self.dtype)

    @property
    def stored(self) -> tuple[tuple[int, ...], str]:
        """Shape and type as files state them, where the types that NumPy does not know are plain bytes."""
        kind = self.numpy_type
        return self.shape, f"|V{kind.itemsize}" if kind.kind == "V" else kind.str

    @property
    def nbytes(self) -> int:
        """The bytes of the value."""
        return math.prod(self.shape) * self.numpy_type.itemsize

    def __str__(self) -> str:
        return shorten(f"{self.path} {self.shape} {self.dtype}", 200)


@dataclass(frozen=True)
class Layout:
    """What a checkpoint of a training must fit.

    Attributes:
        steps_per_epoch: batches per epoch.
        variables: the model's, the optimizer's and the average's variables in their order, by group.
    """

    steps_per_epoch: int
    variables: Mapping[str, Sequence[ArraySpec]]


@dataclass(frozen=True)
class Snapshot:
    """A training at one step.

    Attributes:
        step, seconds, history: as in `TrainingProgress`.
        averaged: the step that the average of weights starts after, and the last one that it has read.
        arrays: values by the paths of their variables, in four groups: ``"model"`` (weights, statistics, states of
            random generators), ``"optimizer"``, ``"metrics"`` (running sums of the epoch that has begun) and
            ``"average"``.
        callbacks: what callbacks keep, by how the recipe lists them.
    """

    step: int
    seconds: float
    history: tuple[Epoch, ...]
    averaged: tuple[int, int]
    arrays: Mapping[str, Mapping[str, np.ndarray]]
    callbacks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finite(self) -> bool:
        """Whether no weight and no state of the optimizer is infinite or NaN."""
        groups = (self.arrays["model"], self.arrays["optimizer"])
        return all(np.isfinite(value).all() for group in groups for value in group.values())


def unique(paths: Iterable[str]) -> list[str]:
    """The paths, with numbers added to those that were there before, as models within a model may repeat them."""
    seen: dict[str, int] = {}
    found = []
    for path in paths:
        seen[path] = seen.get(path, 0) + 1
        found.append(path if seen[path] == 1 else f"{path}#{seen[path]}")
    return found


def matched(own: Sequence[ArraySpec], saved: Sequence[ArraySpec], group: str) -> list[int]:
    """For each of a training's own variables, the position of the one that was saved for it.

    They are found by their paths. Keras numbers the layers that a builder does not name, and goes on counting from
    network to network, so paths that differ in these numbers alone are found by their order. So are values without
    paths, as old checkpoints have them: their paths are their positions.

    Raises:
        RunError: they do not fit each other.
    """
    positions = {spec.path: position for position, spec in enumerate(saved)}
    by_order = all(path == str(position) for path, position in positions.items()) or (
        [_unnumbered(spec.path) for spec in own] == [_unnumbered(spec.path) for spec in saved]
    )
    if positions.keys() == {spec.path for spec in own}:
        order = [positions[spec.path] for spec in own]
    elif by_order and len(own) == len(saved):
        order = list(range(len(own)))
    else:
        missing = [spec for spec in own if spec.path not in positions]
        raise RunError(
            f"The checkpoint belongs to another training: its {group} has {len(saved)} variables where {len(own)} are "
            f"needed{f', and none for {missing[0].path}' if missing else ''}."
        )
    for spec, position in zip(own, order, strict=True):
        if saved[position].stored != spec.stored:
            raise RunError(
                f"The checkpoint belongs to another training: its {group} has {saved[position]} where {spec} is needed."
            )
    return order


def _unnumbered(path: str) -> str:
    return re.sub(r"_\d+(?=[_/]|$)", "", path)
