"""What is made of the best trial: its recipe, and a training with it on all training images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.recipes.toml import toml_lines
from cnn_registry.runs.record import ENDED
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import note
from cnn_registry.workflows.plan import chosen_recipe
from cnn_registry.workflows.resume import resume
from cnn_registry.workflows.train import train

from .folder import RETRAINED, newest
from .space import chosen_settings
from .task import Task

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def retrained(what: Task, folder: Path, best: FrozenTrial) -> tuple[Run, float | None]:
    """The best settings, trained on all training images, and the accuracy on the validation images.

    All epochs are trained, or as many as early stopping has found best, and nothing is chosen on those images.
    """
    from filelock import FileLock

    out = folder / RETRAINED / f"trial-{best.number:04d}"
    out.mkdir(parents=True, exist_ok=True)
    settings = chosen_settings(best.params, what.space) | {"best_by": "last"}
    if _stopping(what, best):
        settings = {key: value for key, value in settings.items() if not key.startswith("early_stopping.")}
        settings |= {"early_stopping": None, "epochs": best.user_attrs["best_epoch"]}
    with FileLock(folder / ".lock"):
        before = newest(out)
        if before and before.record.status in ENDED:
            run = before
        elif before:
            run = resume(before.path, distribute="none")
        else:
            note(f"Training with the settings of trial {best.number} on all training images")
            arguments = what.arguments(settings)
            run = train(what.model, **arguments, out=out, distribute="none")
    result = run.record.result
    if run.record.status in ENDED and "accuracy" not in result.get("report", {}):  # it was ended before its report
        return run, result["last"]["val_accuracy"]
    return run, result.get("report", {}).get("accuracy")


def _stopping(what: Task, best: FrozenTrial) -> dict[str, Any] | None:
    """The early stopping of the best trial, which may be among the settings that are searched."""
    own = {**what.settings, **chosen_settings(best.params, what.space)}
    found = chosen_recipe(what.spec, what.recipe, own).recipe.to_dict()["early_stopping"]
    return None if found is None else dict(found)


def best_recipe(what: Task, run: Run, best: FrozenTrial, trials: int) -> str:
    """The best recipe as TOML."""
    base = what.base
    epochs = chosen_settings(best.params, what.space).get("epochs", base.epochs)
    kept = {"best_by": base.best_by, "epochs": epochs}
    recipe = run.record.recipe.with_settings(kept | {"early_stopping": _stopping(what, best)}).to_dict()
    summary = f"{what.spec.name} on {what.plan.data.name}: trial {best.number} of {trials}"
    recipe |= {"name": "best", "summary": summary, "extends": None}
    return "\n".join(toml_lines(recipe)) + "\n"
