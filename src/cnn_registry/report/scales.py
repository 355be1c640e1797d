"""Scales that plots and pages share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def loss_limits(training: Sequence[float], validation: Sequence[float]) -> tuple[float, float]:
    """Where the axis of losses begins and ends; 0 lies on it.

    A validation loss far above all others would flatten the rest. A loss of the user's own may be negative.
    """
    every = [value for value in (*training, *validation) if np.isfinite(value)]
    median = [float(np.median(validation))] if len(validation) else []
    typical = [value for value in (*training, *median) if np.isfinite(value)]
    low, high = min(0.0, 1.2 * min(every, default=0.0)), max(0.0, 1.2 * max(typical, default=1.0))
    return low, high if low < high else 1.0
