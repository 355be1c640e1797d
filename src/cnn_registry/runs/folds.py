"""The runs of a cross-validation, which are used as one."""

from __future__ import annotations

import os
from pathlib import Path

from cnn_registry.data.split import FOLD
from cnn_registry.errors import RunError
from cnn_registry.text import shell_path

from .record import ENDED
from .run import Run, local_run


def open_runs(path: str | Path) -> list[Run]:
    """The run in a directory or a repository; or, in that of a cross-validation, the runs of all folds, in order.

    Raises:
        RunError: it holds neither, or not all folds of the cross-validation have finished.
        HubError, WeightsError, MissingPackageError: as `load_run`.
    """
    path = local_run(path)
    if os.path.lexists(path / "run.json"):
        return [Run.open(path)]
    within = path.glob("*/run.json") if os.path.isdir(path) else ()  # noqa: PTH112 - false for a name that is too long
    runs = [Run.open(file.parent) for file in sorted(within)]
    folds = [FOLD.fullmatch(run.record.split.name) for run in runs]
    numbers = [int(fold[1]) for fold in folds if fold]
    counts = {int(fold[2]) for fold in folds if fold}
    if len(counts) != 1 or len(set(numbers)) != len(runs):
        return [Run.open(path)]  # which says what is there instead
    [count] = counts
    finished = {number: run for number, run in zip(numbers, runs, strict=True) if run.record.status in ENDED}
    if len(finished) != count:
        raise RunError(
            f"{path} holds {len(finished)} finished folds of {count}. Resume the cross-validation with: cnnreg train "
            f"{runs[0].record.model.spec['name']} --folds {count} --resume {shell_path(path)}, with the same "
            f"options."
        )
    return [finished[number] for number in sorted(finished)]
