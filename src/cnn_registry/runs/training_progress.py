"""How far a training has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from .history import Epoch


@dataclass
class TrainingProgress:
    """How far a training has come. It changes with every step.

    Attributes:
        steps_per_epoch: batches an epoch.
        step: steps done since the beginning.
        seconds: spent on those of the epoch that has begun.
        history: the epochs that have ended.
        begun: the number of the epoch that has begun last, from 1; 0 before the first.
    """

    steps_per_epoch: int
    step: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    begun: int = 0

    @property
    def epochs(self) -> int:
        """Epochs that have ended."""
        return len(self.history)

    @property
    def batch(self) -> int:
        """Steps done of the epoch that has begun."""
        return self.step - self.epochs * self.steps_per_epoch
