"""Finding a learning rate, on invented losses and on a model that trains in a second."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cnn_registry import find_learning_rate
from cnn_registry.errors import TrainingError, UsageError
from cnn_registry.registry.models import get_spec
from cnn_registry.training.fit import Fit
from cnn_registry.training.range_test import (
    candidates,
    for_the_test,
    judged,
    range_test,
    rates_between,
    refuse_diverged,
)
from cnn_registry.workflows.plan import Request, plan_training

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

pytestmark = pytest.mark.slow

SETTINGS = {"batch_size": 8, "image_size": 16}


def curve(steps: int, falls_at: float, rises_at: float) -> tuple[list[float], list[float]]:
    rates = rates_between(1e-5, 10.0, steps)
    losses = [
        2 / (1 + (rate / falls_at) ** 2) + 0.3 + (rate / rises_at) ** 2 + 0.01 * (-1) ** step
        for step, rate in enumerate(rates)
    ]
    return rates, losses


def test_the_steepest_place_and_the_minimum_are_found() -> None:
    found = judged(*curve(100, falls_at=1e-2, rises_at=1.0), 3.0, diverged=False)
    assert found.steepest == pytest.approx(1e-2, rel=0.3)
    assert found.minimum == pytest.approx(0.12, rel=0.5)
    assert found.tenth == found.minimum / 10
    assert found.steepest < found.minimum < found.edge < 1.0


def test_rates_are_tried_from_where_the_loss_falls_to_beyond_the_edge() -> None:
    found = judged(*curve(100, falls_at=1e-2, rises_at=1.0), 3.0, diverged=False)
    tried = candidates(found)
    assert tried[-1] == pytest.approx(3 * found.edge)
    assert min(found.steepest, found.tenth) / 2 < tried[0] < found.steepest * 2
    assert [after / before for before, after in pairwise(tried)] == pytest.approx([3.0] * (len(tried) - 1))
    best = replace(found, tried=((0.01, 2.0), (0.03, 1.5), (0.1, math.inf)))
    assert best.suggestion == 0.03
    assert best.to_dict()["tried"] == [[0.01, 2.0], [0.03, 1.5], [0.1, None]]


def test_rates_that_have_all_diverged_are_not_suggested() -> None:
    refuse_diverged([(0.1, math.inf), (0.3, 2.0)])
    with pytest.raises(TrainingError, match=r"at each rate that was tried, from 0\.1 to 0\.3, so none .* --range\.$"):
        refuse_diverged([(0.1, math.inf), (0.3, math.inf)])


def test_a_last_loss_that_is_not_finite_is_left_out() -> None:
    rates, losses = curve(100, falls_at=1e-2, rises_at=1.0)
    found = judged(rates[:80], [*losses[:79], float("nan")], 3.0, diverged=True)
    assert len(found.smoothed) == 79
    assert found.to_dict()["losses"][-1] is None


@pytest.mark.parametrize("losses", [[2.0 + 0.1 * (step % 2) for step in range(50)], [1.0 + step for step in range(50)]])
def test_where_the_loss_does_not_fall_nothing_is_suggested(losses: list[float]) -> None:
    with pytest.raises(TrainingError, match="did not fall by more than it varies"):
        judged(rates_between(1e-5, 10, 50), losses, 2.0, diverged=False)


def test_a_loss_that_diverges_at_once_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"diverged after 3 steps.*--range"):
        judged(rates_between(1, 10, 50), [1.0, 5.0, 90.0, float("inf")], 2.0, diverged=True)


def test_the_training_is_where_it_was(tiny: str, colours: Path) -> None:
    plan = plan_training(Request(get_spec(tiny), data=colours, settings=SETTINGS))
    fit = Fit(plan.spec, plan.form, for_the_test(plan.recipe), plan.images, plan.split)
    before = fit.state.snapshot()
    found = range_test(fit, rates_between(1e-4, 100.0, 60))  # ten times as many steps as an epoch has
    after = fit.state.snapshot()
    assert found.diverged or len(found.losses) == 60
    assert 1e-4 < found.steepest < found.minimum < 100
    assert found.suggestion == min(found.tried, key=lambda pair: pair[1])[0]
    assert (after.step, after.history) == (0, ())
    for group in ("model", "optimizer"):
        for path, value in before.arrays[group].items():
            np.testing.assert_array_equal(after.arrays[group][path], value, path)


def test_from_the_command_line(cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path) -> None:
    random.seed(1), np.random.seed(1)
    drawn = (random.random(), np.random.random())
    random.seed(1), np.random.seed(1)
    options = ("--data", colours, "--set", "batch_size=8", "--set", "image_size=16")
    picture = tmp_path / "curve.png"
    done = cnnreg("lr-find", tiny, *options, "--steps", 60, "--range", 1e-4, 100, "-o", picture)
    assert done.code == 0, done.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    last = done.out.splitlines()[-1]
    given = f"--data {colours} --set batch_size=8 --set image_size=16"
    assert last.startswith(f"train with: cnnreg train tiny {given} --lr ")
    assert (random.random(), np.random.random()) == drawn
    found = json.loads(cnnreg("lr-find", tiny, *options, "--steps", 60, "--range", 1e-4, 100, "--json").out)
    assert float(last.rpartition(" ")[2]) == pytest.approx(found["suggestion"], rel=0.05)
    assert len(found["rates"]) == len(found["losses"])
    assert not (Path.cwd() / "runs" / "tiny").exists()
    scaled = cnnreg("lr-find", tiny, *options, "--set", "optimizer.for_images=64", "--steps", 60, "--range", 1e-4, 100)
    assert " --set optimizer.for_images=8 --lr " in scaled.out, scaled.err  # the rate is that of batches of 8
    again = cnnreg("lr-find", tiny, *options, "-o", picture)
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "already exists" in again.err


@pytest.mark.parametrize(("steps", "low", "high"), [(19, 1e-5, 1.0), (50, 0.0, 1.0), (50, 1.0, 1.0), (50, 1.0, np.inf)])
def test_impossible_ramps_are_refused(tiny: str, colours: Path, steps: int, low: float, high: float) -> None:
    with pytest.raises(UsageError):
        find_learning_rate(tiny, data=colours, steps=steps, low=low, high=high)
