"""Networks of runs in formats that other software runs: `Run.export` and ``cnnreg export`` use this."""

from .formats import FORMATS, FormatName, WeightPrecision
from .workflow import Export, export_run

__all__ = ["FORMATS", "Export", "FormatName", "WeightPrecision", "export_run"]
