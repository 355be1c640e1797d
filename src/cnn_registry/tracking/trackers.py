"""The trackers of one training, none of which can end it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast, get_args

from cnn_registry.errors import UsageError, reason_of
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.record import TrackerName
from cnn_registry.runs.run import Run
from cnn_registry.system.extras import need
from cnn_registry.system.progress import note, working
from cnn_registry.text import either, suggestion, without_credentials

from .tracker import FILES, Tracker

NAMES: tuple[TrackerName, ...] = get_args(TrackerName)
"""The trackers' names, which are those of their modules, packages and extras."""

TITLES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
"""What they are called."""

PATIENCE = 5.0
"""Seconds after which a line says which tracker the training waits for."""


def tracker_names(given: str | Iterable[str]) -> tuple[TrackerName, ...]:
    """The trackers that are asked for, each once.

    Raises:
        UsageError: one is unknown.
    """
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in NAMES:
            near = suggestion(str(name), NAMES)
            raise UsageError(f"There is no tracker {name!r}; expected {either(NAMES)}.{near}")
    return cast("tuple[TrackerName, ...]", tuple(dict.fromkeys(names)))


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Refuse trackers that are known to fail, before a training begins.

    Raises:
        MissingPackageError: a package is not installed.
        UsageError: one cannot be used as it is set up here.
    """
    for name in names:
        need(f"--track {name}", name, extra=name, distributions=TITLES)
        with working(f"Looking for {TITLES[name]}", after=PATIENCE):
            _kind(name).check()


class Trackers:
    """The trackers of a training. One that raises is left out from then on, and a line says so.

    Args:
        names: which.
    """

    def __init__(self, names: Sequence[TrackerName]) -> None:
        self._trackers: dict[TrackerName, Tracker] = {name: _kind(name)() for name in names}

    def begin(self, run: Run, history: Sequence[Epoch]) -> Run:
        """Begin or continue a run in each, and record where, so that a resumed training finds it again.

        Args:
            run: the run, in whose record the trackers' ids are kept.
            history: the epochs so far, which go into a tracker's new run first.

        Raises:
            RunError: the record cannot be written.
        """
        known = dict(run.record.trackers)
        for name, tracker in list(self._trackers.items()):
            with self._sparing(name):
                check_trackers((name,))
                if tracker.begin(run, known.get(name, "")):
                    for row in history:
                        tracker.epoch(row)
            if tracker.id:  # also where it failed after its run was made
                known[name] = tracker.id
        return run if known == run.record.trackers else run.updated(trackers=known)

    def epoch(self, row: Epoch) -> None:
        """Give each what was measured in an epoch."""
        self._each(lambda tracker: tracker.epoch(row))

    def end(self, run: Run, *, in_haste: bool = False) -> None:
        """Give each the result and, unless it must be quick, the files of the run."""
        files = [] if in_haste else [file for name in FILES if (file := run.path / name).is_file()]
        try:
            self._each(lambda tracker: tracker.end(run, files))
        except KeyboardInterrupt:
            note("What the trackers have not received stays in the run directory.")

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            with self._sparing(name):
                work(tracker)

    @contextmanager
    def _sparing(self, name: TrackerName) -> Iterator[None]:
        """Keep what a tracker raises away from the training."""
        try:
            with working(f"Waiting for {TITLES[name]}", after=PATIENCE):
                yield
        except Exception as error:
            del self._trackers[name]
            reason = reason_of(error)
            note(f"{TITLES[name]} failed, and the training continues without it: {without_credentials(reason)}.")


def _kind(name: TrackerName) -> type[Tracker]:
    match name:
        case "tensorboard":
            from .tensorboard import TensorBoard

            return TensorBoard
        case "mlflow":
            from .mlflow import MLflow

            return MLflow
        case "wandb":
            from .wandb import WandB

            return WandB
