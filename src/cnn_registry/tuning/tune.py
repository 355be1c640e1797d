"""From a space to the best recipe, and the network that it trains: what ``cnnreg tune`` does."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cnn_registry import backend
from cnn_registry.data.manifest import Manifest
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.runs.record import STOPPED
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.callers import warned_once
from cnn_registry.system.extras import need
from cnn_registry.system.files import write_file
from cnn_registry.system.progress import note, same_work, working
from cnn_registry.system.times import seconds_of
from cnn_registry.text import counted

from .folder import BEST, PAGE, RECORD, STUDY, check_folder, new_folder, own_storage, write_record
from .lost import enqueue_again
from .outcome import Tuned, best_trial, finished, table
from .page import write_tuning_page
from .retraining import best_recipe, retrained
from .space import DEFAULT, as_it_is, chosen_settings
from .storage import absolute, open_storage, storage_errors, without_password
from .study import OUT, named_part, open_study
from .task import Task, task_of
from .trials import Trials

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage


@dataclass(frozen=True)
class Opened:
    """A study that trials can be added to.

    Attributes:
        study: the study.
        storage: its database.
        url: the address of that.
        folder: where everything is written.
    """

    study: optuna.Study
    storage: RDBStorage
    url: str
    folder: Path


@checked_arguments
@working("Tuning")
def tune(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    space: str | Path = DEFAULT,
    trials: int | None = None,
    time: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    out: str | Path | None = None,
    sampler: Any = "tpe",
    pruner: Any = "median",
    resume: bool = False,
    max_pixels: int | None = None,
) -> Tuned:
    """Search for the settings of a recipe that train best, with Optuna, and train with them.

    Each trial is a run on the split ``"tuning"``: it is trained on four fifths of the training images of the data's own
    split, or else of the stratified one, and validated on the rest of them. The trial that is best by the recipe's
    ``best_by`` is then trained on all of them, and evaluated once on the validation images of that split, which nothing
    before has seen. The first trial is the recipe as it is. Test images that the data brings are left out.

    A tuning that was ended in any way continues where it was when it is called again with the same folder or storage:
    trials that were running resume from their checkpoints. Several processes, on several machines, may share a storage.

    Args:
        model, dataset, data, recipe, settings: as for `train`.
        space: a TOML file with the settings to search, or ``"default"`` for learning rate, weight decay, batch size,
            dropout and augmentation around the recipe's own.
        trials: how many, in all processes together.
        time: for how long, such as ``"2h"``: a trial begins only if it and the last training fit, judged by the longest
            so far.
        storage: the database of the study, as SQLAlchemy writes it; default an SQLite file in the folder.
        study: the study's name in the storage; default the model's and the data's.
        out: the folder of everything that is written; default a new one in ``runs``, or the study's.
        sampler: a sampler of Optuna, or its name with arguments: ``"tpe"``, ``"TPESampler,multivariate=true"``.
        pruner: a pruner of Optuna, or its name with arguments: ``"median"``, ``"none"``.
        resume: refuse to begin a new study.
        max_pixels: as for `train`.

    Returns:
        The folder, the trials, the best settings as a recipe, and the run that was trained with them.

    Raises:
        MissingPackageError: Optuna is not installed.
        UsageError: something is wrong with the request; nothing is written before.
        TrainingError: no trial succeeded.
        RunError: the storage failed.
        CnnRegistryError: as `train`.
    """
    began = clock.monotonic()
    need("Tuning", "optuna", extra="tune", distributions={"optuna": "Optuna"})
    need("Tuning", "jinja2", "matplotlib", "scipy", "sklearn")
    if trials is None and time is None:
        raise UsageError("Say when to stop: a number of trials (--trials 20), a time (--time 2h), or both.")
    if trials is not None and trials < 1:
        raise UsageError(f"A tuning has at least one trial; got {trials}.")
    seconds = math.inf if time is None else _seconds(time)
    backend.require_tensorflow()
    with warned_once(), same_work():
        what = task_of(model, dataset, data, recipe, dict(settings or {}), space, max_pixels)
        name = study or f"{what.spec.name} on {what.plan.data.name}"
        folder = None if out is None else Path(out)
        if folder:
            check_folder(folder)
        opened = _opened(what, storage, name, folder, sampler, pruner, resume=resume)
        with storage_errors(opened.url):
            write_record(opened.folder, what, opened.url, name, trials, {"sampler": sampler, "pruner": pruner})
            return _carried_out(what, opened, trials, began + seconds)


def _seconds(time: str) -> float:
    try:
        return seconds_of(time)
    except ValueError as error:
        raise UsageError(f"--time: {error}; got {time!r}.") from error


def _opened(
    what: Task, storage: str | None, name: str, folder: Path | None, sampler: Any, pruner: Any, *, resume: bool
) -> Opened:
    """The study, new or continued, and its folder."""
    import optuna

    joined = named_part(optuna.samplers, "Sampler", sampler) if isinstance(sampler, str) else sampler
    pruning = named_part(optuna.pruners, "Pruner", pruner) if isinstance(pruner, str) else pruner
    if storage is None:
        if resume and not (folder and (folder / STUDY).is_file()):
            raise UsageError(f"There is no tuning in {folder or 'a new folder'} to resume.")
        folder = folder or new_folder(what)
        storage = own_storage(folder)
        folder.mkdir(parents=True, exist_ok=True)
    storage = absolute(storage, exists=resume)
    opened = open_storage(storage, enqueue_again)
    with storage_errors(storage):
        direction: Literal["minimize", "maximize"] = "minimize" if what.base.best_by == "val_loss" else "maximize"
        study, is_new = open_study(
            opened, name, direction, what.subject(), exists=resume, sampler=joined, pruner=pruning
        )
        if is_new and isinstance(sampler, str):
            # Only the process that begins a study: others would draw the same numbers.
            study.sampler = named_part(optuna.samplers, "Sampler", sampler, seed=what.base.seed)
        known = study.user_attrs.get(OUT)
        if folder is None:
            has_it = isinstance(known, str) and (Path(known) / RECORD).is_file()
            folder = Path(str(known)) if has_it else new_folder(what)
        folder.mkdir(parents=True, exist_ok=True)
        if known is None:
            study.set_user_attr(OUT, str(folder.absolute()))
        if is_new:
            study.enqueue_trial(as_it_is(what.space, what.base, what.spec))
    return Opened(study, opened, storage, folder)


def _carried_out(what: Task, opened: Opened, trials: int | None, deadline: float) -> Tuned:
    """Run trials until there are enough or the time is over, then train with the best settings."""
    study, folder, name = opened.study, opened.folder, opened.study.study_name
    if done := len(finished(study)):
        note(f"The study {name!r} continues after {counted(done, 'trial')}.")
    note(f"Tuning {what.plan.line()}, into {folder}; study {name!r} in {without_password(opened.url)}")
    if stopped := Trials(what, study, opened.storage, folder, trials, deadline).run():
        return Tuned(folder, name, table(study, what.space), stopped=stopped)
    best = best_trial(study)
    run, accuracy = retrained(what, folder, best)
    rows = table(study, what.space)
    if run.record.status in STOPPED:
        return Tuned(folder, name, rows, stopped=run.record.status)
    write_file(folder / BEST, best_recipe(what, run, best, len(finished(study))))
    page = write_tuning_page(folder / PAGE, what, study, rows, best, run)
    return Tuned(folder, name, rows, chosen_settings(best.params, what.space), folder / BEST, run, accuracy, page)
