"""Stratified cross-validation: each image is validated once, by a model that was not trained on it."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.strategy import Distribute
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import RunError, UsageError
from cnn_registry.inference.evaluate import evaluate, joined
from cnn_registry.recipes.resolution import NOT_SETTINGS, leaves
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.report.plots import plot_confusion
from cnn_registry.runs.new_directory import reserved, stamped
from cnn_registry.runs.record import ENDED, STOPPED
from cnn_registry.runs.run import Run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.callers import warned_once
from cnn_registry.system.files import write_file
from cnn_registry.system.progress import note, same_work, working
from cnn_registry.text import shell_path
from cnn_registry.training.options import OnNaN

from .options import new_options
from .plan import Request, plan_training
from .resume import resume
from .train import train_new, with_limit
from .workers import refuse_workers

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Folds:
    """The trainings of a cross-validation.

    Attributes:
        path: the directory of their run directories, of ``folds.json`` and of the report of all images together.
        runs: one for each fold that was trained to its end, in order.
        stopped: how the last of them ended: ``"interrupted"`` or ``"terminated"`` where it was asked to stop.
    """

    path: Path
    runs: tuple[Run, ...]
    stopped: str

    @property
    def accuracies(self) -> list[float]:
        """Validation accuracy of each fold at its last epoch."""
        return [run.record.result["last"]["val_accuracy"] for run in self.runs]

    @property
    def mean(self) -> float:
        """Mean of the accuracies; NaN where there are none."""
        return statistics.fmean(self.accuracies) if self.runs else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracies from one fold to another; 0 of a single one."""
        return statistics.stdev(self.accuracies) if len(self.runs) > 1 else 0.0

    def summary(self) -> dict[str, Any]:
        """What ``folds.json`` says."""
        return {
            "mean": self.mean,
            "standard_deviation": self.deviation,
            "folds": [
                {
                    "split": run.record.split.name,
                    "run": run.path.name,
                    "status": run.record.status,
                    "accuracy": accuracy,
                    "best_accuracy": run.record.result["best"]["val_accuracy"],
                }
                for run, accuracy in zip(self.runs, self.accuracies, strict=True)
            ],
        }


@checked_arguments
@working("Training")
def train_folds(
    model: str,
    count: int,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    split: str | None = None,
    out: str | Path = "runs",
    resume_from: str | Path | None = None,
    on_bad_image: OnBadImage = "skip",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    track: str | Sequence[str] = (),
    tensorboard: bool = False,
    checkpoint_minutes: float = 10.0,
    keep_going: bool = False,
    on_nan: OnNaN = "stop",
    max_pixels: int | None = None,
    distribute: Distribute = "auto",
    time_limit: str | None = None,
    report: bool = True,
) -> Folds:
    """Train ``count`` models, each validated on a different part of the images, and report on all images together.

    Folds are stratified, and drawn with the recipe's seed. A test part that the dataset brings is kept out of all of
    them.

    Args:
        model: a model's name.
        count: number of folds, 2 to 9999.
        split: none can be given, as the folds are the splits.
        out: where the directory of the folds is made.
        resume_from: the directory of a cross-validation that was stopped: its finished folds are kept, the one that was
            cut short is resumed, and the others are trained.
        dataset, data, recipe, settings, on_bad_image, callbacks, checkpoint_minutes, keep_going, on_nan, max_pixels:
            as for `train`.
        track, tensorboard: as for `train`; each fold is a run of its own there.
        distribute: ``"auto"`` or ``"none"``, as folds are trained in one process.
        time_limit, report: as for `train`, of each fold.

    Returns:
        The trainings; after Ctrl-C those so far.

    Raises:
        UsageError: a split was given, or ``count`` is not from 2 to 9999.
        RunError: ``resume_from`` holds runs of another cross-validation, or its folds were trained with another recipe
            or on other images.
        CnnRegistryError: as `train`. The folds that were trained before stay.
    """
    if split is not None:
        raise UsageError(f"Folds are splits of their own; leave the split {split!r} out.")
    refuse_workers("A cross-validation", distribute)
    options = new_options(callbacks, track, tensorboard, checkpoint_minutes, keep_going, on_nan, report)
    backend.require_tensorflow()
    settings = with_limit(settings, time_limit)
    request = Request(get_spec(model), dataset, data, recipe, settings, None, on_bad_image, max_pixels)
    stem = stamped(model.rpartition(":")[2], f"{count}-folds")
    with (
        warned_once(),
        same_work(),
        nullcontext(Path(resume_from)) if resume_from else reserved(Path(out), stem) as path,
    ):
        before = _begun(path, model, count) if resume_from else {}
        if before:
            _refuse_others(before, request)
        runs: list[Run] = []
        for number in range(1, count + 1):
            name = f"fold-{number}-of-{count}"
            if (run := before.get(name)) is None:
                own = replace(options, began=time.monotonic())
                run = train_new(replace(request, split=name), own, path, "none")
            elif run.record.status not in ENDED:
                run = resume(run.path, data=data, callbacks=options.callbacks, distribute="none", report=report)
            runs.append(run)
            if run.record.status in STOPPED:
                break
        folds = Folds(path, tuple(run for run in runs if run.record.status in ENDED), runs[-1].record.status)
        if cut := [run.record.split.name for run in runs if run.record.status not in ENDED]:
            note(
                f"{', '.join(cut)} was cut short and does not count. Resume with: {_resume_command(model, count, path)}"
            )
        if folds.runs:
            _report(folds, dataset, data)
        return folds


def _resume_command(model: str, count: int, path: Path) -> str:
    return f"cnnreg train {model} --folds {count} --resume {shell_path(path)}, with the same options"


def _begun(path: Path, model: str, count: int) -> dict[str, Run]:
    """The runs of a cross-validation that was stopped, by the names of their splits.

    Raises:
        RunError: there are none, or they are of another model or another number of folds.
    """
    runs = [Run.open(file.parent) for file in sorted(path.glob("*/run.json"))]
    if not runs:
        raise RunError(f"{path} holds no runs of a cross-validation; expected what cnnreg train --folds made.")
    wanted = {f"fold-{number}-of-{count}" for number in range(1, count + 1)}
    for run in runs:
        trained, name = run.record.model.spec["name"], model.rpartition(":")[2]
        aliases = [alias for kind in ("aliases", "deprecated_aliases") for alias in run.record.model.spec.get(kind, ())]
        if run.record.split.name not in wanted or name not in (trained, *aliases):
            raise RunError(
                f"{run.path} is {run.record.split.name} of {trained}; expected one of {count} folds of {name}. "
                f"Name the directory of this cross-validation."
            )
    return {run.record.split.name: run for run in runs}


def _refuse_others(before: Mapping[str, Run], request: Request) -> None:
    """Refuse to mix folds: all have the same recipe, so that their parts fit together, and the same images.

    Raises:
        RunError: what is asked for now differs from what a fold was trained with.
        CnnRegistryError: as `plan_training`.
    """
    with backend.process_kept():
        plan = plan_training(replace(request, split=min(before)))
    now = dict(leaves(plan.recipe.to_dict()))
    for run in before.values():
        then = dict(leaves(run.record.recipe.to_dict()))
        for key in sorted(now.keys() | then.keys()):
            if now.get(key) != then.get(key) and key not in NOT_SETTINGS:
                raise RunError(
                    f"{run.path} was trained with {key} = {then.get(key)}; this asks for {now.get(key)}. Resume with "
                    f"the options that the cross-validation began with."
                )
        if not plan.images.evaluation.are_of(run.record.data.digest, run.record.data.unused):
            raise RunError(
                f"{run.path} was trained on other images than those at {plan.data.source}, or they have changed since. "
                f"Name the same with --data."
            )
    first = before[min(before)]
    if (plan.parts.val, plan.parts.test) != (first.record.split.val, first.record.split.test):
        raise RunError(
            f"{first.path} was validated on other images than those that this fold has now. Resume with the table and "
            f"the columns that the cross-validation began with."
        )


def _report(folds: Folds, dataset: str | None, data: str | Path | Manifest | None) -> None:
    """Write ``folds.json``, and ``report.json`` and ``confusion.png`` of all folds' validation images."""
    write_file(folds.path / "folds.json", json.dumps(folds.summary(), indent=2) + "\n")
    note("Evaluating the folds together")
    named = None if data is None else dataset  # the run's own are found by its record
    each = [evaluate(run, dataset=named, data=data, part="val", weights="last") for run in folds.runs]
    evaluation = joined(each, f"validation images of {len(each)} folds, last weights")
    report = evaluation.report()
    write_file(folds.path / "report.json", json.dumps(report, indent=2) + "\n")
    first = folds.runs[0].record
    if first.model.multi_label:
        return
    plot_confusion(
        evaluation.confusion,
        evaluation.class_names,
        folds.path / "confusion.png",
        title=f"{first.model.spec['name']} on {first.data.name}: {evaluation.accuracy:.1%} of {evaluation.part}",
    )
