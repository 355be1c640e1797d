"""How a training ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cnn_registry.recipes.schema import BestBy
from cnn_registry.runs.history import BEST, Epoch, best_epoch

Ending = Literal["finished", "stopped early", "interrupted", "terminated"]


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        ending: it ran all epochs, early stopping ended it, or it was asked to stop, by Ctrl-C or by a signal.
        history: one row for each epoch that was completed.
        at_once: it did not even get the time to write where it stood.
        loss_name: of the losses in the history.
        label_smoothing: of the losses in the history.
        best_by: which epoch is the best.
        ended_by: what ended it before its last epoch, where that was not early stopping or a signal.
    """

    ending: Ending
    history: tuple[Epoch, ...]
    at_once: bool = False
    loss_name: str = "cross_entropy"
    label_smoothing: float = 0.0
    best_by: BestBy = "val_loss"
    ended_by: str = ""

    def result(self) -> dict[str, Any]:
        """The figures of the last epoch and of the best one, for the run's record."""
        if not self.history:
            return {}
        found = {
            "last": self.history[-1].to_dict(),
            "best": best_epoch(self.history, self.best_by).to_dict(),
            "best_by": BEST[self.best_by] + (self._form_of_loss() if self.best_by == "val_loss" else ""),
        }
        return found | ({"ended_by": self.ended_by} if self.ended_by else {})

    def _form_of_loss(self) -> str:
        name = "" if self.loss_name == "cross_entropy" else f", {self.loss_name}"
        return f"{name}, with label smoothing {self.label_smoothing:g}" if self.label_smoothing else name
