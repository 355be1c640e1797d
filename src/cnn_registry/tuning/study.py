"""The study that trials belong to: opening it, and giving back trials whose process is gone."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cnn_registry.errors import RunError, UsageError
from cnn_registry.recipes.resolution import leaves
from cnn_registry.system.objects import Reference, called
from cnn_registry.text import one_line, suggestion

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

HEARTBEAT = 60
"""Seconds between signs of life of a trial, for processes on other machines."""

SILENT = 180
"""Seconds without one after which a trial of another machine counts as lost."""

MOST_TRIES = 3
"""How often a trial whose process was lost is tried at most: it may be what ends the process."""

LOCKED = 60
"""Seconds that a process waits while another one writes to an SQLite file."""

OPENING = 2.0
"""Seconds to wait before a storage that could not be opened is tried once more."""

SUBJECT = "cnnreg"
"""The study's attribute that says what is tuned."""

OWNER, OUT, ERROR, RETRY_OF, TRIES = "owner", "out", "error", "retry_of", "tries"
"""Attributes of a trial: the process that runs it, the folder of its run, why it failed, which trial it takes the place
of, and how often it was lost."""


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Whatever a database raises, in one line.

    Raises:
        RunError: it raised something.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise RunError(f"The storage {without_password(url)} failed: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    """What the database's driver says, without the statement and the addresses that SQLAlchemy adds."""
    cause = error.__cause__ or error
    return one_line(getattr(cause, "orig", None) or cause)


def without_password(url: str) -> str:
    """A storage's address without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return url


def absolute(url: str, *, exists: bool) -> str:
    """A storage's address that means the same in any directory: SQLite's is a path.

    Raises:
        UsageError: it is not an address, or its file ought to exist and does not.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise UsageError(f"The storage {url!r} is not an address; expected one such as sqlite:///tune.db.") from error
    if not parsed.drivername.startswith("sqlite") or not parsed.database or parsed.database.startswith((":", "file:")):
        return url
    path = Path(parsed.database).absolute()
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for the storage {url}; make it first.")
    if exists and not path.is_file():
        raise UsageError(f"There is no file {path} with a study to resume. To begin one, leave --resume out.")
    return parsed.set(database=str(path)).render_as_string(hide_password=False)


def has_password(url: str) -> bool:
    """Whether an address has a password in it."""
    from sqlalchemy.engine import make_url

    return make_url(url).password is not None


def open_storage(url: str, given_back: Callable[[optuna.Study, FrozenTrial], None]) -> RDBStorage:
    """The database at ``url``, as SQLAlchemy writes it; tables that are missing are made.

    Raises:
        UsageError: it cannot be opened.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DBAPIError

    options = {"connect_args": {"timeout": LOCKED}} if url.startswith("sqlite") else {"pool_pre_ping": True}

    def opened() -> RDBStorage:
        return RDBStorage(
            url,
            engine_kwargs=options,
            heartbeat_interval=HEARTBEAT,
            grace_period=SILENT,
            heartbeat_stale_trial_callback=given_back,
        )

    with silent_optuna():
        try:
            try:
                return opened()
            except DBAPIError:  # another process may be making the tables
                time.sleep(OPENING)
                return opened()
        except ImportError as error:
            raise UsageError(
                f"The storage {without_password(url)} needs a database driver that is not installed. For PostgreSQL: "
                f"pip install 'psycopg[binary]'. For MySQL: pip install pymysql, and an address with mysql+pymysql://."
            ) from error
        except Exception as error:  # of SQLAlchemy, of the driver, of Optuna
            raise UsageError(
                f"The storage {without_password(url)} cannot be opened: {_reason(error).rstrip('.')}. Expected an "
                f"address such as sqlite:///tune.db or postgresql://user:password@host/database."
            ) from error


@contextmanager
def silent_optuna() -> Iterator[None]:
    """Without Optuna's lines about experimental parts, and about what it does."""
    import warnings

    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_study(
    storage: RDBStorage,
    name: str,
    direction: Literal["minimize", "maximize"],
    subject: Mapping[str, Any],
    *,
    exists: bool,
    **parts: Any,
) -> tuple[optuna.Study, bool]:
    """The study of that name, new or continued, and whether it is new.

    Args:
        storage: where it is.
        name: the study's.
        direction: ``"minimize"`` or ``"maximize"``.
        subject: what is tuned, JSON-ready; a study that exists must be of the same.
        exists: refuse to make a new one.
        **parts: sampler and pruner.

    Raises:
        UsageError: the study is of something else, or does not exist but should.
    """
    import optuna

    known = optuna.get_all_study_names(storage)
    if exists and name not in known:
        raise UsageError(
            f"There is no study {name!r} to resume.{suggestion(name, known)} Leave --resume out to begin it."
        )
    with silent_optuna():
        try:
            study, is_new = optuna.create_study(storage=storage, study_name=name, direction=direction, **parts), True
        except optuna.exceptions.DuplicatedStudyError:
            study, is_new = optuna.load_study(storage=storage, study_name=name, **parts), False
    found = study.user_attrs.get(SUBJECT)
    if found is None and study.get_trials(deepcopy=False):
        raise UsageError(f"The study {name!r} was not made by cnnreg tune; give this one another name with --study.")
    if found is None:
        study.set_user_attr(SUBJECT, dict(subject))
        return study, is_new
    before, now = (dict(leaves(given)) for given in (found, subject))
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise UsageError(
            f"The study {name!r} has {key} = {before.get(key)}, not {now.get(key)}. Continue it with what it began "
            f"with, or give this one another name with --study."
        )
    return study, False


def named_part(kind: Any, suffix: str, text: str, **given: Any) -> Any:
    """A sampler or a pruner of Optuna by the name of its class, in any case, with or without its ending.

    Args:
        kind: Optuna's module of them.
        suffix: the ending of their names.
        text: ``"tpe"``, ``"TPESampler,multivariate=true"``.
        **given: arguments that are passed where the class takes them and ``text`` does not have them.

    Raises:
        UsageError: there is no such class, or it does not take the arguments.
    """
    from cnn_registry.system.objects import takes

    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}.") from error
    classes = {name.removesuffix(suffix).lower(): getattr(kind, name) for name in kind.__all__ if name.endswith(suffix)}
    classes.pop("base", None)
    wanted = reference.name.lower().replace("_", "").removesuffix(suffix.lower())
    if suffix == "Pruner" and wanted == "none":
        wanted = "nop"
    if wanted not in classes:
        raise UsageError(
            f"Optuna has no {suffix.lower()} {reference.name!r}.{suggestion(wanted, classes)} It has "
            f"{', '.join(sorted(classes))}."
        )
    maker = classes[wanted]
    options = {name: value for name, value in given.items() if takes(maker, name)} | reference.options
    with silent_optuna():
        return called(maker, f"The {suffix.lower()}", **options)


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
        return bool(psutil.Process(owner["pid"]).create_time() != owner["started"])
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
