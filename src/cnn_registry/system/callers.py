"""Warnings that point at the line that calls this package, however deep inside they arise."""

from __future__ import annotations

import sys
import warnings

ROOT = __name__.partition(".")[0]


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning at the nearest line outside this package.

    Args:
        message: one line.
        category: the kind of warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == ROOT:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
