"""The runs in a directory: what they are, how large they are, and how they are removed."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cnn_registry.data.split import FOLD
from cnn_registry.errors import RunError
from cnn_registry.system.files import is_own_file, is_own_folder, size_of

from . import lock
from .record import ENDED
from .run import Run


@dataclass(frozen=True)
class RunEntry:
    """A run, or the runs of a cross-validation, in a directory.

    Attributes:
        path: its directory.
        runs: the run, or those of a cross-validation; empty if none can be read.
        expected: how many runs there should be.
        bytes: size of its files.
    """

    path: Path
    runs: tuple[Run, ...]
    expected: int
    bytes: int

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy after the best epoch, of a cross-validation the mean; ``None`` if there is none yet."""
        best = [accuracy for run in self.runs if (accuracy := _best_accuracy(run)) is not None]
        return statistics.fmean(best) if best else None

    @property
    def status(self) -> str:
        """How it ended; for a cross-validation, how many of its runs have ended."""
        if not self.runs:
            return "damaged"
        if self.expected == 1:
            return self.runs[0].status
        return f"{sum(run.record.status in ENDED for run in self.runs)} of {self.expected} folds"

    @property
    def created(self) -> datetime | None:
        """When it began, in local time."""
        return min(filter(None, map(_began, self.runs)), default=None)


def run_entries(out: Path) -> list[RunEntry]:
    """The runs in ``out``, the newest last; ``out`` may also be a run.

    Raises:
        RunError: there is no such directory.
    """
    if is_own_file(out / "run.json"):
        return [_entry(out if out.name not in ("", "..") else out.resolve())]
    try:
        folders = sorted(path for path in out.iterdir() if is_own_folder(path))
    except OSError as error:
        raise RunError(f"The runs in {out} cannot be listed: {error.strerror or error}.") from error
    found = [_entry(path) for path in folders if is_own_file(path / "run.json") or _holds_folds(path)]
    return sorted(found, key=lambda entry: entry.created.timestamp() if entry.created else 0.0)


def _entry(path: Path) -> RunEntry:
    paths = [path] if is_own_file(path / "run.json") else list(_folds(path))
    runs = tuple(run for run in map(_readable, paths) if run)
    if paths == [path]:
        return RunEntry(path, runs, 1, size_of(path))
    folds = [int(match[2]) for run in runs if (match := FOLD.fullmatch(run.record.split.name))]
    return RunEntry(path, runs, max([*folds, len(paths)]), size_of(path))


def _holds_folds(path: Path) -> bool:
    """Whether a folder is that of a cross-validation; one that holds other runs is somebody's own."""
    runs = list(filter(None, map(_readable, _folds(path))))
    return bool(runs) and all(FOLD.fullmatch(run.record.split.name) for run in runs)


def _best_accuracy(run: Run) -> float | None:
    best = run.record.result.get("best")
    accuracy = best.get("val_accuracy") if isinstance(best, dict) else None
    return accuracy if isinstance(accuracy, float) else None


def _began(run: Run) -> datetime | None:
    try:
        return datetime.fromisoformat(run.record.created).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def _folds(path: Path) -> Iterator[Path]:
    """The runs of a cross-validation."""
    return (record.parent for record in sorted(path.glob("*/run.json")) if is_own_folder(record.parent))


def _readable(path: Path) -> Run | None:
    try:
        return Run.open(path)
    except RunError:
        return None


def remove(entry: RunEntry) -> None:
    """Remove the directory of an entry. Links in it are removed, not what they point to.

    Raises:
        RunError: it is being trained, or cannot be removed.
    """
    for path in [entry.path, *_folds(entry.path)]:
        _check_idle(path)
    try:
        shutil.rmtree(entry.path)
    except OSError as error:
        raise RunError(f"{entry.path} cannot be removed: {error.strerror or error}.") from error


def _check_idle(path: Path) -> None:
    try:
        busy = lock.is_locked(path)
    except OSError as error:
        raise RunError(f"{path / lock.NAME} cannot be read: {error.strerror or error}.") from error
    if busy:
        raise RunError(f"Another process is training in {path}; stop it first.")
