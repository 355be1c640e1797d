"""Charts as coordinates."""

from __future__ import annotations

import re

import pytest

from cnn_registry.report.charts import Curve, curves
from cnn_registry.report.scales import loss_limits


def test_a_validation_loss_far_above_all_others_is_cut_off() -> None:
    assert loss_limits([2.0, 1.0], [1.5, 90.0, 1.0]) == pytest.approx((0, 2.4))
    assert loss_limits([0.0], [0.0]) == (0, 1)
    assert loss_limits([float("nan")], [float("nan")]) == pytest.approx((0, 1.2))
    assert loss_limits([], []) == pytest.approx((0, 1.2))


def test_losses_below_zero_have_their_place() -> None:
    training, validation = [-0.3, -0.5], [-0.2, -0.6]
    chart = curves("Loss", "loss", [Curve("v", validation, "a1")], limits=loss_limits(training, validation), best=2)
    assert {float(tick.text) for tick in chart.y_ticks} >= {-0.4, 0.0}
    [line], [mark] = chart.lines, chart.marks
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line.path)]
    assert chart.top < heights[0] < heights[1] < chart.bottom
    assert mark.y == pytest.approx(heights[1], abs=0.1)
    assert curves("Loss", "loss", [Curve("v", [-2.0], "a1")], limits=loss_limits([-1.0], [-2.0])).y_ticks
