"""What a tuning has come to: its trials, the best of them, and what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.errors import TrainingError
from cnn_registry.runs.run import Run

from .lost import was_lost
from .space import Space, chosen_settings
from .study import ERROR

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Tuned:
    """What a tuning has found.

    Attributes:
        path: its folder.
        study: the study's name.
        trials: a row for each trial, JSON-ready.
        best: the settings of the best trial.
        recipe: the file with the best recipe; ``None`` where tuning was stopped before.
        run: the best recipe, trained on all training images and evaluated once on the validation images.
        accuracy: its accuracy on the validation images, which no trial has seen.
        page: the HTML page.
        stopped: ``"interrupted"`` or ``"terminated"`` where it was asked to stop, else empty.
    """

    path: Path
    study: str
    trials: tuple[Mapping[str, Any], ...]
    best: Mapping[str, Any] = field(default_factory=dict)
    recipe: Path | None = None
    run: Run | None = None
    accuracy: float | None = None
    page: Path | None = None
    stopped: str = ""


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that have ended, except for those that were lost."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.is_finished() and not was_lost(trial)]


def best_trial(study: optuna.Study) -> FrozenTrial:
    """The best trial.

    Raises:
        TrainingError: none has come to its end.
    """
    try:
        return study.best_trial
    except ValueError:
        reasons = [trial.user_attrs[ERROR] for trial in finished(study) if ERROR in trial.user_attrs]
        last = f" The last: {reasons[-1]}" if reasons else ""
        raise TrainingError(f"No trial of the study {study.study_name!r} came to its end.{last}") from None


def table(study: optuna.Study, space: Space) -> tuple[Mapping[str, Any], ...]:
    """A row for each trial, JSON-ready."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        lost = was_lost(trial)
        seconds = trial.duration.total_seconds() if trial.duration else None
        rows.append(
            {
                "number": trial.number,
                "state": "lost" if lost else trial.state.name.lower(),
                "value": trial.value if trial.values else None,
                "accuracy": trial.user_attrs.get("accuracy"),
                "epochs": trial.user_attrs.get("epochs"),
                "seconds": seconds,
                "settings": chosen_settings(trial.params, space),
                "run": trial.user_attrs.get("run"),
                "error": trial.user_attrs.get(ERROR),
            }
        )
    return tuple(rows)
