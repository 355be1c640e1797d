"""Scales that plots and pages share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def loss_limit(training: Sequence[float], validation: Sequence[float]) -> float:
    """Where the axis of losses ends: a validation loss far above all others would flatten the rest."""
    typical = [*training, float(np.median(validation))]
    finite = [value for value in typical if np.isfinite(value)]
    return 1.2 * max(finite, default=1.0) or 1.0
