"""Trials whose process is gone: how they are recognised, and how another process takes their place."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .storage import HEARTBEAT, silent_optuna
from .study import ERROR, OUT, OWNER, RETRY_OF, TRIES

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

MOST_TRIES = 3
"""How often a trial whose process was lost is tried at most: it may be what ends the process."""


CLOCK = 10.0
"""Seconds by which the start of one process may seem to differ: it is counted from a clock that is set meanwhile."""


def this_process() -> dict[str, Any]:
    """What identifies this process: machine, number and start."""
    import psutil

    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_lost(trial: FrozenTrial, now: datetime) -> bool:
    """Whether the process of a running trial is known to be gone; of other machines, heartbeats tell."""
    import psutil

    owner = trial.user_attrs.get(OWNER)
    if owner is None:  # the process ended before it could write its name, or is about to
        return trial.datetime_start is not None and now - trial.datetime_start > timedelta(seconds=HEARTBEAT)
    if owner["host"] != socket.gethostname():
        return False
    if owner["pid"] == os.getpid():
        return True  # an earlier call in this process, which has ended
    try:
        return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["started"]) > CLOCK)
    except psutil.Error:
        return True


def give_back_lost(study: optuna.Study) -> None:
    """Enqueue again the trials whose process is gone: marked failed, and put in the queue with the folder of their run.

    A process may be killed between the two, so failed trials without a reason and without another in their place are
    enqueued as well.
    """
    import optuna

    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        if is_lost(trial, datetime.now()):
            give_back(study, trial)
    with silent_optuna():
        optuna.storages.fail_stale_trials(study)
    trials = study.get_trials(deepcopy=False)
    replaced = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state == states.FAIL and ERROR not in trial.user_attrs and trial.number not in replaced:
            enqueue_again(study, trial)


def give_back(study: optuna.Study, trial: FrozenTrial, *, lost: bool = True) -> None:
    """Mark a running trial as failed and enqueue it again, unless another process has been quicker.

    Args:
        study: the trial's.
        trial: running.
        lost: whether its process was lost, of which there may be `MOST_TRIES`; false where it was asked to stop.
    """
    import optuna

    with suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError), silent_optuna():
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        enqueue_again(study, trial, lost=lost)


def enqueue_again(study: optuna.Study, trial: FrozenTrial, *, lost: bool = True) -> None:
    """Put a trial that failed for no reason of its own into the queue, with the folder of its run."""
    kept = {name: trial.user_attrs[name] for name in (OUT,) if name in trial.user_attrs}
    tries = trial.user_attrs.get(TRIES, 1) + lost
    with silent_optuna():
        study.enqueue_trial(trial.params, user_attrs={**kept, RETRY_OF: trial.number, TRIES: tries})


def was_lost(trial: FrozenTrial) -> bool:
    """Whether a trial failed because its process was lost, so that another has taken its place."""
    import optuna

    return trial.state == optuna.trial.TrialState.FAIL and ERROR not in trial.user_attrs


@contextmanager
def signs_of_life(storage: RDBStorage, study: optuna.Study, number: int) -> Iterator[None]:
    """Within the block, say every minute that the trial is alive."""
    study_id = storage.get_study_id_from_name(study.study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    storage.record_heartbeat(trial_id)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            with suppress(Exception):  # the database may be away for a while; the trial's own calls will tell
                storage.record_heartbeat(trial_id)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
