"""Find a learning rate: train a few steps at ever higher rates, and look where the loss falls fastest.

The range test of Smith 2017, "Cyclical Learning Rates for Training Neural Networks"
(https://arxiv.org/abs/1506.01186), section 3.3, with rates that grow exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from cnn_registry.data.pipeline.batches import reading
from cnn_registry.errors import CnnRegistryError, TrainingError
from cnn_registry.networks.acceleration import accelerated
from cnn_registry.recipes.schema import Recipe

from .fit import Fit

SIGMA = 0.03
"""Standard deviation of the weights by which neighbouring losses are averaged, as a share of the steps."""

FEWEST = 20
"""Steps of a test: with fewer, the curve is mostly noise."""

LOW, HIGH = 1e-5, 10.0
"""The first and the last rate."""

STEPS = 100


@dataclass(frozen=True)
class LearningRates:
    """The losses of a training whose learning rate rises, and what they suggest.

    Attributes:
        rates: of the steps, rising.
        losses: of the batch of each step, before it.
        smoothed: averages of neighbouring losses.
        steepest: the rate at which the smoothed loss falls fastest.
        minimum: the rate at which it is lowest.
        diverged: whether the loss rose so far, or became NaN, that the test ended.
        for_images: the images of a step, where the recipe scales the rate with them.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    minimum: float
    diverged: bool
    for_images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """What was measured, JSON-ready; ``None`` for a loss that is not finite."""
        losses = [loss if math.isfinite(loss) else None for loss in self.losses]
        return asdict(self) | {"losses": losses, "tenth": self.tenth, "suggestion": self.suggestion}

    @property
    def tenth(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest."""
        return self.minimum / 10

    @property
    def suggestion(self) -> float:
        """The rate to train with: the steepest."""
        return self.steepest


def rates_between(low: float, high: float, steps: int) -> list[float]:
    """So many rates, each larger than the one before by the same factor."""
    return [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]


def for_the_test(recipe: Recipe) -> Recipe:
    """The recipe with what makes its steps, and nothing beside: no schedule, average, limit, metrics or callbacks."""
    settings = {"schedule": {"name": "constant"}, "ema": None, "time_limit": None, "early_stopping": None}
    return recipe.with_settings({**settings, "metrics": [], "callbacks": [], "best_by": "val_loss"})


def range_test(fit: Fit, rates: Sequence[float]) -> LearningRates:
    """Train one step at each rate, until the loss diverges; afterwards the training is where it was.

    Args:
        fit: the training, of a recipe that `for_the_test` has made.
        rates: rising.

    Raises:
        TrainingError: a step failed, or the loss does not fall, so that no rate can be suggested.
    """
    from .callbacks.ramp import Ramp

    before, ramp = fit.state.snapshot(), Ramp(rates)
    steps = fit.progress.steps_per_epoch
    try:
        with reading(*fit.images), accelerated(fit.model) if fit.recipe.accelerate else nullcontext():
            fit.model.fit(
                fit.batches(max(fit.recipe.epochs, math.ceil(len(rates) / steps))),  # what is mixed when is as planned
                steps_per_epoch=len(rates),
                callbacks=[ramp],
                shuffle=False,
                verbose=0,
            )
    except CnnRegistryError:
        raise
    except Exception as error:  # TensorFlow's
        raise TrainingError(fit.failed(error)) from error
    finally:
        fit.state.restore(before)
    found = judged(rates[: len(ramp.losses)], ramp.losses, SIGMA * len(rates), diverged=ramp.diverged)
    return replace(found, for_images=fit.recipe.optimizer.for_images)


def judged(rates: Sequence[float], losses: Sequence[float], sigma: float, *, diverged: bool) -> LearningRates:
    """What the losses of a test suggest.

    Args:
        rates: of the steps that were done.
        losses: theirs; the last may not be finite.
        sigma: steps over which losses are averaged.
        diverged: see there.

    Raises:
        TrainingError: they do not fall by more than their spread.
    """
    from scipy.ndimage import gaussian_filter1d

    known = np.array([loss for loss in losses if math.isfinite(loss)])
    if len(known) < FEWEST // 2:
        raise TrainingError(
            f"The loss diverged after {len(known)} steps, at a learning rate of {rates[len(known) - 1]:.2g}; begin at "
            f"a lower one with --range."
        )
    smoothed = gaussian_filter1d(known, max(sigma, 1.0), mode="nearest")
    lowest = int(smoothed.argmin())
    falling, spread = smoothed[: lowest + 1], float(np.std(known[: lowest + 1] - smoothed[: lowest + 1]))
    if lowest < 2 or falling.max() - falling[-1] <= spread:
        raise TrainingError(
            f"The loss did not fall by more than it varies between learning rates of {rates[0]:.2g} and "
            f"{rates[len(known) - 1]:.2g}, so none can be suggested. Try more --steps, or another --range."
        )
    steepest = int(np.gradient(falling).argmin())
    return LearningRates(
        tuple(rates), tuple(losses), tuple(map(float, smoothed)), rates[steepest], rates[lowest], diverged
    )
