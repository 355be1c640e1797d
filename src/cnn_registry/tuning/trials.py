"""The trials that this process runs, perhaps beside others that work on the same study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.data.split import TUNING
from cnn_registry.errors import CnnRegistryError, DivergedError, RunError, TrainingError
from cnn_registry.runs.history import WATCHED, measure_of
from cnn_registry.runs.record import ENDED, STOPPED
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import note
from cnn_registry.text import counted
from cnn_registry.workflows.resume import resume
from cnn_registry.workflows.train import train

from .folder import TRIALS, newest
from .lost import MOST_TRIES, give_back, give_back_lost, signs_of_life, this_process
from .outcome import finished
from .space import brief, suggested
from .storage import silent_optuna
from .study import ERROR, OUT, OWNER, TRIES
from .task import Task

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage

POLL = 2.0
"""Seconds between looks at trials that run elsewhere."""

HOPELESS = 3
"""Trials that fail before any has succeeded, after which tuning ends."""


class Trials:
    """Trials of a study, run one after another.

    Args:
        what: what they have in common.
        study: the study.
        storage: its database.
        folder: where their runs are written.
        count: how many there will be in all processes; ``None`` for any number.
        deadline: when the last one should have ended, by the monotonic clock.
    """

    def __init__(
        self, what: Task, study: optuna.Study, storage: RDBStorage, folder: Path, count: int | None, deadline: float
    ) -> None:
        self.what, self.study, self.storage, self.folder = what, study, storage, folder
        self.count, self.deadline = count, deadline
        self._longest = 0.0

    def run(self) -> str:
        """Run trials, wait for those of others; how a trial ended that was asked to stop, else nothing."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        is_waiting = False
        while True:
            give_back_lost(self.study)
            elsewhere = len(self.study.get_trials(deepcopy=False, states=(running,)))
            wanted = self.count is None or len(finished(self.study)) + elsewhere < self.count
            if wanted and time.monotonic() + 2 * self._longest < self.deadline:
                began = time.monotonic()
                if stopped := self._run_trial():
                    return stopped
                self._longest = max(self._longest, time.monotonic() - began)
                self._refuse_hopeless()
            elif elsewhere:
                if not is_waiting:
                    note(f"Waiting for {counted(elsewhere, 'trial')} of other processes.")
                is_waiting = True
                time.sleep(POLL)
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
        if self._is_surplus(trial.number):
            give_back(self.study, self.study.trials[trial.number], lost=False)
            return ""
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

    def _is_surplus(self, number: int) -> bool:
        """Whether there were enough trials: another process may have begun one since they were counted here."""
        import optuna

        running = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        before = sum(trial.number < number for trial in (*finished(self.study), *running))
        return self.count is not None and before >= self.count

    def _trained(self, trial: optuna.Trial, out: Path, settings: Mapping[str, Any]) -> tuple[Run, bool]:
        """The run of a trial, begun or resumed, at its end; and whether it was pruned."""
        from .reporter import Reporter

        base = self.what.base
        reporter = Reporter(trial, base.best_by, int(settings.get("epochs", base.epochs)))
        before = newest(out)
        if before and before.record.status in ENDED:  # its process was lost before it could tell
            return before, before.record.status == "stopped early" and not before.record.recipe.early_stopping
        if before:
            for epoch in before.history if before.history_csv.exists() else []:
                with suppress(ValueError):
                    reporter.report(epoch.epoch, measure_of(epoch, base.best_by))
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

    def _refuse_hopeless(self) -> None:
        """End where every trial fails.

        Raises:
            TrainingError: the reason of the last one.
        """
        ended = finished(self.study)
        if len(ended) >= HOPELESS and all(ERROR in trial.user_attrs for trial in ended):
            raise TrainingError(f"All {len(ended)} trials failed, the last: {ended[-1].user_attrs[ERROR]}")
