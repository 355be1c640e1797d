"""The database of a study: its address, opening it, and what it raises in one line."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.errors import RunError, UsageError
from cnn_registry.system.quiet import PutBack, in_force, without_warnings
from cnn_registry.text import one_line

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

HEARTBEAT = 60
"""Seconds between signs of life of a trial, for processes on other machines."""

SILENT = 180
"""Seconds without one after which a trial of another machine counts as lost."""

LOCKED = 60
"""Seconds that a process waits while another one writes to an SQLite file."""

OPENING = 2.0
"""Seconds to wait before a storage that could not be opened is tried once more."""


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
    if not parsed.drivername.startswith("sqlite") or not parsed.database or parsed.database.startswith(":"):
        return url
    nothing = "a study to resume. To begin one, leave --resume out."
    if parsed.database.startswith("file:"):
        if exists and not _may_hold_studies(parsed.database.partition("?")[0]):
            raise UsageError(f"The storage {url} does not hold {nothing}")
        return url
    path = Path(parsed.database).absolute()
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for the storage {url}; make it first.")
    if exists and not path.is_file():
        raise UsageError(f"There is no file {path} with {nothing}")
    if exists and not _may_hold_studies(path.as_uri()):  # Optuna would make its tables in anybody's database
        raise UsageError(f"{path} does not hold {nothing}")
    return parsed.set(database=str(path)).render_as_string(hide_password=False)


def _may_hold_studies(uri: str) -> bool:
    """Whether an SQLite file has Optuna's tables, or cannot be read, which is reported when it is opened."""
    try:
        with closing(sqlite3.connect(f"{uri}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchone())
    except sqlite3.Error:
        return True


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
                f"The storage {without_password(url)} cannot be opened: {_reason(error)}. Expected an "
                f"address such as sqlite:///tune.db or postgresql://user:password@host/database."
            ) from error


@contextmanager
def silent_optuna() -> Iterator[None]:
    """Without Optuna's lines about experimental parts, and about what it does."""
    import optuna

    def change() -> PutBack:
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return lambda: optuna.logging.set_verbosity(before)

    with in_force("optuna", change), without_warnings():
        yield
