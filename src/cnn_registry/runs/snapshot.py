"""Where a training stands, and all that it needs to go on from there as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .history import Epoch

Arrays = Mapping[str, Sequence[np.ndarray]]
"""The values of variables, by what they belong to."""


@dataclass(frozen=True)
class Snapshot:
    """A training at one step.

    Attributes:
        step, seconds, history: as in `TrainingProgress`.
        averaged: the last step that the average of weights has read.
        arrays: ``"model"`` (weights, statistics, states of random generators), ``"optimizer"``, ``"metrics"`` (running
            sums of the epoch that has begun) and ``"average"``.
    """

    step: int
    seconds: float
    history: tuple[Epoch, ...]
    averaged: int
    arrays: Arrays

    @property
    def is_finite(self) -> bool:
        """Whether no weight and no state of the optimizer is infinite or not a number."""
        values = [*self.arrays["model"], *self.arrays["optimizer"]]
        return all(np.isfinite(value).all() for value in values)
