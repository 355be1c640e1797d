"""Networks of runs in formats that other software runs: `Run.export` and ``cnnreg export`` use this."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from .formats import FORMATS as FORMATS
    from .formats import FormatName as FormatName
    from .formats import WeightPrecision as WeightPrecision
    from .workflow import Export as Export
    from .workflow import export_run as export_run

_HOMES = {
    "FORMATS": "export.formats",
    "Export": "export.workflow",
    "FormatName": "export.formats",
    "WeightPrecision": "export.formats",
    "export_run": "export.workflow",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
