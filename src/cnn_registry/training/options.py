"""How a training is carried out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cnn_registry.runs.record import TrackerName

if TYPE_CHECKING:
    import keras

OnNaN = Literal["stop", "rollback"]
"""What to do when the loss becomes NaN or infinite: end, or go back to the latest checkpoint and halve the rate."""


@dataclass(frozen=True)
class RunOptions:
    """How a training is carried out, which changes nothing of what it ends with.

    Attributes:
        callbacks: Keras callbacks, called after the loop's own.
        track: the trackers that follow it.
        checkpoint_minutes: minutes between checkpoints within an epoch; one is also written after each epoch.
        keep_going: train on without checkpoints where they cannot be written.
        on_nan: see there.
        report: write the report when training has ended.
        began: when the work began, by the monotonic clock, from which a time limit counts.
    """

    callbacks: Sequence[keras.callbacks.Callback] = ()
    track: Sequence[TrackerName] = ()
    checkpoint_minutes: float = 10.0
    keep_going: bool = False
    on_nan: OnNaN = "stop"
    report: bool = True
    began: float = field(default_factory=time.monotonic)
