"""From a space to the best recipe, and the network that it trains: what ``cnnreg tune`` does."""

from __future__ import annotations

import json
import math
import time as clock
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from cnn_registry import backend
from cnn_registry.data.manifest import Manifest, as_source, columns_of, path_of
from cnn_registry.data.split import TUNING
from cnn_registry.errors import CnnRegistryError, DivergedError, RunError, TrainingError, UsageError
from cnn_registry.recipes.schema import Recipe, validated
from cnn_registry.recipes.toml import toml_lines
from cnn_registry.registry.models import get_spec
from cnn_registry.runs.history import WATCHED, measure_of
from cnn_registry.runs.record import ENDED
from cnn_registry.runs.run import Run, stamped
from cnn_registry.system.extras import need
from cnn_registry.system.files import read_regular, write_file
from cnn_registry.system.progress import note
from cnn_registry.system.times import seconds_of
from cnn_registry.text import counted
from cnn_registry.workflows.plan import chosen_recipe, plan_training
from cnn_registry.workflows.resume import resume
from cnn_registry.workflows.train import train

from .page import write_tuning_page
from .space import (
    DEFAULT,
    as_it_is,
    brief,
    checked_space,
    chosen_settings,
    default_space,
    read_space,
    space_lines,
    suggested,
)
from .study import (
    ERROR,
    MOST_TRIES,
    OUT,
    OWNER,
    TRIES,
    absolute,
    enqueue_again,
    give_back,
    give_back_lost,
    has_password,
    named_part,
    open_storage,
    open_study,
    signs_of_life,
    silent_optuna,
    storage_errors,
    this_process,
    was_lost,
    without_password,
)
from .task import DataArguments, Task

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

POLL = 2.0
"""Seconds between looks at trials that run elsewhere."""

HOPELESS = 3
"""Trials that fail before any has succeeded, after which tuning ends."""

STUDY, SPACE, RECORD, BEST, PAGE = "study.db", "space.toml", "tune.json", "best.toml", "tuning.html"
"""What is in the folder of a tuning, besides the folders of runs."""

MAX_RECORD = 2**20
"""Bytes of `RECORD`."""

TRIALS, RETRAINED = "trials", "best"
"""The folders of runs."""

STOPPED = ("interrupted", "terminated")
"""How a training has ended that was asked to stop."""


class Record(BaseModel):
    """How the command of a tuning is given again; the names are those of `tune`'s arguments, and of a manifest's."""

    model_config = ConfigDict(strict=True)

    model: str
    dataset: str | None = None
    data: str | None = None
    columns: dict[str, str] = {}
    recipe: str | dict[str, Any] | None = None
    settings: dict[str, Any] = {}
    storage: str | None = None
    study: str | None = None
    trials: int | None = None
    sampler: str | None = None
    pruner: str | None = None


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
    what = _what(model, dataset, data, recipe, dict(settings or {}), space)
    name = study or f"{what.spec.name} on {what.plan.data.name}"
    folder = None if out is None else Path(out)
    if folder:
        _check_folder(folder)
    elif storage is None:
        folder = _new_folder(what)
    made = _study(what, storage, name, folder, sampler, pruner, resume=resume)
    parts = {"sampler": sampler, "pruner": pruner}
    tuning = Tuning(what, *made, trials, began + seconds, parts)
    with storage_errors(tuning.url):
        return tuning.carry_out()


def _new_folder(what: Task) -> Path:
    return Path("runs") / stamped(what.spec.name, what.plan.data.name, "tuning")


def _seconds(time: str) -> float:
    try:
        return seconds_of(time)
    except ValueError as error:
        raise UsageError(f"--time: {error}; got {time!r}.") from error


def _what(
    model: str,
    dataset: str | None,
    data: str | Path | Manifest | None,
    recipe: str | Path | Recipe | None,
    settings: dict[str, Any],
    space: str | Path,
) -> Task:
    """What is tuned, with everything checked that can be."""
    spec = get_spec(model)
    given = None if str(space) == DEFAULT else read_space(Path(space))
    images = DataArguments(dataset=dataset, data=data)
    with backend.process_kept():
        plan = plan_training(spec, **images, recipe=recipe, settings=settings, split=TUNING)
    base = plan.recipe
    if base.best_by == "last":
        raise UsageError("best_by = last chooses nothing, so trials cannot be compared; use --set best_by=val_loss.")
    if base.schedule.name == "plateau":
        raise UsageError(
            "The schedule 'plateau' watches validation images; the best recipe is retrained without any. Choose "
            "another one, for instance with --set schedule=cosine."
        )

    def resolved(more: Mapping[str, Any]) -> Recipe:
        return chosen_recipe(spec, recipe, {**settings, **more}).recipe

    found = checked_space(given or default_space(base, spec), str(space), base, spec, resolved)
    return Task(spec, model, images, recipe, settings, found, plan)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a tuning.

    Raises:
        UsageError: it does.
    """
    ours = any((folder / name).is_file() for name in (RECORD, STUDY))
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not a tuning, and not empty; name another folder with -o.")


def _study(
    what: Task, storage: str | None, name: str, folder: Path | None, sampler: Any, pruner: Any, *, resume: bool
) -> tuple[optuna.Study, Any, str, Path]:
    """The study, its storage with its address, and the folder."""
    import optuna

    joined = named_part(optuna.samplers, "Sampler", sampler) if isinstance(sampler, str) else sampler
    pruning = named_part(optuna.pruners, "Pruner", pruner) if isinstance(pruner, str) else pruner
    if storage is None:
        assert folder
        if resume and not (folder / STUDY).is_file():
            raise UsageError(f"There is no tuning in {folder} to resume.")
        folder.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{folder / STUDY}"
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
            folder = Path(str(known)) if has_it else _new_folder(what)
        folder.mkdir(parents=True, exist_ok=True)
        if known is None:
            study.set_user_attr(OUT, str(folder.absolute()))
        if is_new:
            study.enqueue_trial(as_it_is(what.space, what.base, what.spec))
    return study, opened, storage, folder


class Tuning:
    """A tuning that is carried out by this process, perhaps with others.

    Args:
        what: what every trial has in common.
        study: the study.
        storage: its database.
        url: the address of that.
        folder: where everything is written.
        trials: how many there will be in all processes; ``None`` for any number.
        deadline: by the monotonic clock.
        parts: sampler and pruner as they were given.
    """

    def __init__(
        self,
        what: Task,
        study: optuna.Study,
        storage: Any,
        url: str,
        folder: Path,
        trials: int | None,
        deadline: float,
        parts: Mapping[str, Any],
    ) -> None:
        self.what, self.study, self.storage, self.url, self.folder = what, study, storage, url, folder
        self.trials, self.deadline, self.parts = trials, deadline, parts
        self._longest = 0.0

    def carry_out(self) -> Tuned:
        """Run trials until there are enough or the time is over, then train with the best settings."""
        self._record()
        if done := len(self._finished()):
            note(f"The study {self.study.study_name!r} continues after {counted(done, 'trial')}.")
        name, storage = self.study.study_name, without_password(self.url)
        note(f"Tuning {self.what.plan.line()}, into {self.folder}; study {name!r} in {storage}")
        if stopped := self._run_trials():
            return Tuned(self.folder, self.study.study_name, self.rows(), stopped=stopped)
        best = self._best()
        run, accuracy = self._retrained(best)
        if run.record.status in STOPPED:
            return Tuned(self.folder, self.study.study_name, self.rows(), stopped=run.record.status)
        settings = chosen_settings(best.params, self.what.space)
        write_file(self.folder / BEST, self._best_recipe(run, best))
        page = write_tuning_page(self.folder / PAGE, self.what, self.study, self.rows(), best, run)
        return Tuned(
            self.folder,
            self.study.study_name,
            self.rows(),
            settings,
            self.folder / BEST,
            run,
            accuracy,
            page,
        )

    def _record(self) -> None:
        """Write what is searched, and how the same command is given again."""
        lines = ["# What is searched; cnnreg tune --space reads it.", *space_lines(self.what.space)]
        write_file(self.folder / SPACE, "\n".join(lines) + "\n")
        data, recipe = self.what.images["data"], self.what.recipe
        storage = None if self.url.endswith(f"/{STUDY}") and str(self.folder.absolute()) in self.url else self.url
        record = {
            "model": self.what.model,
            "dataset": self.what.images["dataset"],
            "data": None if data is None else str(path_of(data).absolute()),
            "columns": columns_of(data),
            "recipe": recipe.to_dict() if isinstance(recipe, Recipe) else _as_path(recipe),
            "settings": dict(self.what.settings),
            "storage": "" if storage and has_password(storage) else storage,
            "study": self.study.study_name,
            "trials": self.trials,
            **{name: part if isinstance(part, str) else None for name, part in self.parts.items()},
        }
        write_file(self.folder / RECORD, json.dumps(record, indent=2) + "\n")

    def _run_trials(self) -> str:
        """Run trials, wait for those of others; how a trial ended that was asked to stop, else nothing."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        told = False
        while True:
            give_back_lost(self.study)
            elsewhere = len(self.study.get_trials(deepcopy=False, states=(running,)))
            wanted = self.trials is None or len(self._finished()) + elsewhere < self.trials
            if wanted and clock.monotonic() + 2 * self._longest < self.deadline:
                began = clock.monotonic()
                if stopped := self._run_trial():
                    return stopped
                self._longest = max(self._longest, clock.monotonic() - began)
                self._refuse_hopeless()
            elif elsewhere:
                if not told:
                    note(f"Waiting for {counted(elsewhere, 'trial')} of other processes.")
                told = True
                clock.sleep(POLL)
            else:
                return ""

    def _run_trial(self) -> str:
        """Run the next trial, tell the study how it ended; its status where it was asked to stop, else nothing."""
        import optuna

        states = optuna.trial.TrialState
        with silent_optuna():
            trial = self.study.ask()
        trial.set_user_attr(OWNER, this_process())
        if trial.user_attrs.get(TRIES, 1) > MOST_TRIES:
            return self._failed(trial, f"its process was lost {MOST_TRIES} times")
        settings = suggested(trial, self.what.space)
        kept = trial.user_attrs.get(OUT)
        out = Path(kept) if kept and Path(kept).is_dir() else self.folder / TRIALS / f"{trial.number:04d}"
        trial.set_user_attr(OUT, str(out.absolute()))
        note(f"Trial {trial.number}: {', '.join(f'{key}={brief(value)}' for key, value in settings.items())}")
        try:
            with signs_of_life(self.storage, self.study, trial.number):
                run, pruned = self._trained(trial, out, settings)
        except DivergedError as error:
            trial.set_user_attr(ERROR, str(error))
            self.study.tell(trial, state=states.PRUNED)  # not failed: samplers would not learn from it
            note(f"Trial {trial.number} diverged.")
            return ""
        except BaseException as error:
            # The disk or the storage is not the trial's fault, a batch that does not fit the memory is.
            if isinstance(error, CnnRegistryError) and not isinstance(error, RunError):
                return self._failed(trial, str(error))
            with suppress(Exception):
                give_back(self.study, self.study.trials[trial.number], lost=not isinstance(error, KeyboardInterrupt))
            raise
        if run.record.status in STOPPED:
            give_back(self.study, self.study.trials[trial.number], lost=False)
            return run.record.status
        self._tell(trial, run, pruned=pruned)
        return ""

    def _trained(self, trial: optuna.Trial, out: Path, settings: Mapping[str, Any]) -> tuple[Run, bool]:
        """The run of a trial, begun or resumed, at its end; and whether it was pruned."""
        from .reporter import Reporter

        base = self.what.base
        reporter = Reporter(trial, base.best_by, int(settings.get("epochs", base.epochs)))
        before = _newest(out)
        if before and before.record.status in ENDED:  # its process was lost before it could tell
            return before, before.record.status == "stopped early" and not before.record.recipe.early_stopping
        if before:
            for epoch in before.history if before.history_csv.exists() else []:
                with suppress(ValueError):
                    trial.report(measure_of(epoch, base.best_by), epoch.epoch)
            try:
                return resume(before.path, callbacks=[reporter], report=False, distribute="none"), reporter.pruned
            except RunError as error:
                note(f"{error} The trial begins again.")
        run = train(
            self.what.model,
            **self.what.arguments(settings),
            split=TUNING,
            out=out,
            callbacks=[reporter],
            report=False,
            distribute="none",  # processes of one study train different trials
        )
        return run, reporter.pruned

    def _tell(self, trial: optuna.Trial, run: Run, *, pruned: bool) -> None:
        """Tell the study what a trial came to."""
        import optuna

        result, by = run.record.result, self.what.base.best_by
        best = next(row for row in run.history if row.epoch == result["best"]["epoch"])
        value = measure_of(best, by)
        trial.set_user_attr("run", str(run.path.absolute()))
        trial.set_user_attr("best_epoch", best.epoch)
        trial.set_user_attr("epochs", len(run.history))
        trial.set_user_attr("accuracy", best.val_accuracy)
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        self.study.tell(trial, None if pruned else value, state=state)
        done, what = ("pruned", "so far") if pruned else ("ended", "in its best epoch")
        note(
            f"Trial {trial.number} {done} after {counted(len(run.history), 'epoch')}: {WATCHED[by]} {value:.4f} {what}."
        )

    def _failed(self, trial: optuna.Trial, reason: str) -> str:
        import optuna

        trial.set_user_attr(ERROR, reason)
        self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        note(f"Trial {trial.number} failed: {reason}")
        return ""

    def _finished(self) -> list[FrozenTrial]:
        """Trials that have ended, except for those that were lost."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished() and not was_lost(trial)]

    def _refuse_hopeless(self) -> None:
        """End where every trial fails.

        Raises:
            TrainingError: the reason of the last one.
        """
        finished = self._finished()
        if len(finished) >= HOPELESS and all(ERROR in trial.user_attrs for trial in finished):
            raise TrainingError(f"All {len(finished)} trials failed, the last: {finished[-1].user_attrs[ERROR]}")

    def _best(self) -> FrozenTrial:
        """The best trial.

        Raises:
            TrainingError: none has come to its end.
        """
        try:
            return self.study.best_trial
        except ValueError:
            reasons = [trial.user_attrs[ERROR] for trial in self._finished() if ERROR in trial.user_attrs]
            last = f" The last: {reasons[-1]}" if reasons else ""
            raise TrainingError(f"No trial of the study {self.study.study_name!r} came to its end.{last}") from None

    def _retrained(self, best: FrozenTrial) -> tuple[Run, float | None]:
        """The best settings, trained on all training images, and the accuracy on the validation images.

        All epochs are trained, or as many as early stopping has found best, and nothing is chosen on those images.
        """
        from filelock import FileLock

        out = self.folder / RETRAINED / f"trial-{best.number:04d}"
        out.mkdir(parents=True, exist_ok=True)
        settings = chosen_settings(best.params, self.what.space) | {"best_by": "last"}
        if self._stopping(best):
            settings = {key: value for key, value in settings.items() if not key.startswith("early_stopping.")}
            settings |= {"early_stopping": None, "epochs": best.user_attrs["best_epoch"]}
        with FileLock(self.folder / ".lock"):
            before = _newest(out)
            if before and before.record.status in ENDED and "report" in before.record.result:
                run = before
            elif before and before.record.status not in ENDED:
                run = resume(before.path, distribute="none")
            else:
                note(f"Training with the settings of trial {best.number} on all training images")
                arguments = self.what.arguments(settings)
                run = train(self.what.model, **arguments, out=out, distribute="none")
        return run, run.record.result.get("report", {}).get("accuracy")

    def _stopping(self, best: FrozenTrial) -> dict[str, Any] | None:
        """The early stopping of the best trial, which may be among the settings that are searched."""
        own = {**self.what.settings, **chosen_settings(best.params, self.what.space)}
        found = chosen_recipe(self.what.spec, self.what.recipe, own).recipe.to_dict()["early_stopping"]
        return None if found is None else dict(found)

    def _best_recipe(self, run: Run, best: FrozenTrial) -> str:
        """The best recipe as TOML."""
        base = self.what.base
        epochs = chosen_settings(best.params, self.what.space).get("epochs", base.epochs)
        kept = {"best_by": base.best_by, "epochs": epochs}
        recipe = run.record.recipe.with_settings(kept | {"early_stopping": self._stopping(best)}).to_dict()
        summary = f"{self.what.spec.name} on {self.what.plan.data.name}: trial {best.number} of {len(self._finished())}"
        recipe |= {"name": "best", "summary": summary, "extends": None}
        return "\n".join(toml_lines(recipe)) + "\n"

    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """A row for each trial, JSON-ready."""
        rows = []
        for trial in self.study.get_trials(deepcopy=False):
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
                    "settings": chosen_settings(trial.params, self.what.space),
                    "run": trial.user_attrs.get("run"),
                    "error": trial.user_attrs.get(ERROR),
                }
            )
        return tuple(rows)


def _as_path(recipe: str | Path | None) -> str | None:
    """A recipe's name, or the whole path of a file or a run."""
    if recipe is None:
        return None
    return str(Path(recipe).absolute()) if Path(recipe).exists() else str(recipe)


def _newest(out: Path) -> Run | None:
    """The newest run in a folder that can be read."""
    for file in sorted(out.glob("*/run.json"), reverse=True):
        with suppress(CnnRegistryError):
            return Run.open(file.parent)
    return None


def tuning_in(folder: Path) -> dict[str, Any]:
    """The arguments of the tuning that began in a folder.

    Raises:
        UsageError: there is none.
    """
    try:
        record = Record.model_validate_json(read_regular(folder / RECORD, MAX_RECORD)).model_dump()
        recipe = record["recipe"]
        record["recipe"] = validated(recipe, str(folder)) if isinstance(recipe, dict) else recipe
        record["data"] = as_source(record["data"], record.pop("columns"))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{folder} is not the folder of a tuning: it has no {RECORD} that can be read.") from error
    return record | {"space": folder / SPACE}
