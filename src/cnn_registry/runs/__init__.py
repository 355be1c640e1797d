"""The run directory: what a training leaves, and everything that is needed to use or resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from .history import Epoch as Epoch
    from .history import read_history as read_history
    from .record import RunRecord as RunRecord
    from .run import Run as Run
    from .run import load_run as load_run

_HOMES = {
    "Epoch": "runs.history",
    "Run": "runs.run",
    "RunRecord": "runs.record",
    "load_run": "runs.run",
    "read_history": "runs.history",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
