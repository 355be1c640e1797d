"""Write checkpoints while training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.strategy import ALONE, Distribution
from cnn_registry.errors import RunError
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import Snapshot
from cnn_registry.system.progress import note
from cnn_registry.training.signals import StopRequest
from cnn_registry.training.state import TrainingState

from .endings import Diverged, Stopped

if TYPE_CHECKING:
    import keras
else:
    keras = backend.keras()


class CheckpointCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Writes checkpoints at the end of each epoch, every few minutes within one, and when asked to stop.

    At the end of an epoch, it waits while checkpoints would take more than `SHARE` of the time, as they may if an epoch
    takes a second.

    Args:
        run: where checkpoints are written.
        training: the state that they keep.
        minutes: minutes between checkpoints within an epoch.
        request: whether to stop.
        keep_going: train on without checkpoints where they cannot be written.
        resume_from: the checkpoint that training resumes from.
        distribution: the processes, which write checkpoints and stop after the same step.
        saved: called after each checkpoint.
    """

    SHARE = 0.015
    """The largest share of the time that checkpoints may take."""

    def __init__(
        self,
        run: Run,
        training: TrainingState,
        minutes: float,
        request: StopRequest,
        *,
        keep_going: bool,
        resume_from: Snapshot | None,
        distribution: Distribution = ALONE,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._saved = saved
        self.run, self.training, self.request = run, training, request
        self.keep_going, self._resume_from, self._distribution = keep_going, resume_from, distribution
        self._seconds = 60 * minutes
        self._last, self._cost, self._works = time.monotonic(), 0.0, True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        progress = self.training.progress
        if self._resume_from and progress.batch > 1:
            self.training.add_metrics(self._resume_from)
        self._resume_from = None
        if progress.batch == progress.steps_per_epoch:
            return  # the epoch's end, after validation, is near
        save, stop = self._distribution.agreed(self._is_due(self._seconds), self.request.signal is not None)
        if save or stop:
            self._save()
        if stop:
            raise Stopped
        self._distribution.ask(self._is_due(self._seconds), self.request.signal is not None)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        whole = not self.training.progress.batch  # unless a callback has ended the epoch within
        votes = [self._is_due(self._cost / self.SHARE), self.request.signal is not None, bool(self.model.stop_training)]
        save, stop, over = (any(of_all) for of_all in zip(*self._distribution.all_gather(votes), strict=True))
        if whole and (save or stop):
            self._save()
        if stop and not over:
            raise Stopped

    def _is_due(self, seconds: float) -> bool:
        """Whether the process that writes checkpoints has written none for so long."""
        return self.run.writes and time.monotonic() - self._last >= seconds

    def _save(self) -> None:
        if not self._works:
            return
        began = time.monotonic()
        snapshot = self.training.view()
        if not snapshot.is_finite:
            raise Diverged
        try:
            if self.run.writes:
                self.run.checkpoints.save(snapshot)
                self._saved()
        except RunError as error:
            if not self.keep_going:
                raise
            note(f"{error} Training continues without checkpoints.")
            self._works = False
        self._last = time.monotonic()
        self._cost = self._last - began
