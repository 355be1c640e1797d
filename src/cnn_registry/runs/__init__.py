"""Run directories: what a training writes, and what is needed to use or resume it.

`load_run` opens a directory. ``run.record`` is the content of its ``run.json``, and ``read_history(run.history_csv)``
has a row per epoch. `cnn_registry.inference` has the functions that use the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from .history import Epoch as Epoch
    from .history import read_history as read_history
    from .record import DataRecord as DataRecord
    from .record import ModelRecord as ModelRecord
    from .record import Resumption as Resumption
    from .record import RunRecord as RunRecord
    from .record import SplitRecord as SplitRecord
    from .run import Run as Run
    from .run import load_run as load_run

_HOMES = {
    "DataRecord": "runs.record",
    "Epoch": "runs.history",
    "ModelRecord": "runs.record",
    "Resumption": "runs.record",
    "Run": "runs.run",
    "RunRecord": "runs.record",
    "SplitRecord": "runs.record",
    "load_run": "runs.run",
    "read_history": "runs.history",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
