"""Find a learning rate: train a few steps at ever higher rates, and then some steps at each of a few of them.

The first part is the range test of Smith 2017, "Cyclical Learning Rates for Training Neural Networks"
(https://arxiv.org/abs/1506.01186), section 3.3, with rates that grow exponentially. From random weights, its curve
alone misleads: the loss first falls to that of guessing, at rates far below those at which a network learns, and stays
there over several powers of ten. The second part therefore tries rates from where the loss falls to where it rises.
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
from cnn_registry.system.progress import working

from .fit import Fit

SIGMA = 0.03
"""Standard deviation of the weights by which neighbouring losses are averaged, as a share of the steps."""

FEWEST = 20
"""Steps of a test: with fewer, the curve is mostly noise."""

LOW, HIGH = 1e-5, 10.0
"""The first and the last rate."""

STEPS = 100

MOST_TRIED, APART = 6, 3.0
"""How many rates are tried at most, and how far they are apart, as a factor."""

TRIED, RISE, JUDGED = 0.4, 0.1, 0.25
"""For how many steps each rate is tried, as a share of the steps of the test; the share of these in which the rate
rises to it; and the share at their end whose losses are compared."""


@dataclass(frozen=True)
class LearningRates:
    """The losses of a training whose learning rate rises, and what they suggest.

    Attributes:
        rates: of the steps, rising.
        losses: of the batch of each step, before it.
        smoothed: averages of neighbouring losses.
        steepest: the rate at which the smoothed loss falls fastest.
        minimum: the rate at which it is lowest.
        edge: the highest rate at which it is not above its lowest value by more than losses vary.
        diverged: whether the loss rose so far, or became NaN, that the test ended.
        for_images: the images of a step, where the recipe scales the rate with them.
        tried: rates that were then tried for some steps each, and the losses that they came to; infinite where it
            diverged.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    minimum: float
    edge: float
    diverged: bool
    for_images: int | None = None
    tried: tuple[tuple[float, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What was measured, JSON-ready; ``None`` for a loss that is not finite."""
        losses = [loss if math.isfinite(loss) else None for loss in self.losses]
        tried = [[rate, loss if math.isfinite(loss) else None] for rate, loss in self.tried]
        return asdict(self) | {"losses": losses, "tried": tried, "tenth": self.tenth, "suggestion": self.suggestion}

    @property
    def tenth(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest."""
        return self.minimum / 10

    @property
    def suggestion(self) -> float:
        """The rate to train with: of those that were tried, the one with the lowest loss; else the steepest."""
        return min(self.tried, key=lambda pair: pair[1])[0] if self.tried else self.steepest


def rates_between(low: float, high: float, steps: int) -> list[float]:
    """So many rates, each larger than the one before by the same factor."""
    return [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]


def for_the_test(recipe: Recipe) -> Recipe:
    """The recipe with what makes its steps, and nothing beside: no schedule, average, limit, metrics or callbacks."""
    settings = {"schedule": {"name": "constant"}, "ema": None, "time_limit": None, "early_stopping": None}
    return recipe.with_settings({**settings, "metrics": [], "callbacks": [], "best_by": "val_loss"})


def range_test(fit: Fit, rates: Sequence[float]) -> LearningRates:
    """Train one step at each rate, until the loss diverges, then try a few; the training is afterwards where it was.

    Args:
        fit: the training, of a recipe that `for_the_test` has made.
        rates: rising.

    Raises:
        TrainingError: a step failed, or the loss does not fall, so that no rate can be suggested.
    """
    before, steps = fit.state.snapshot(), math.ceil(TRIED * len(rates))
    try:
        with reading(*fit.images), accelerated(fit.model) if fit.recipe.accelerate else nullcontext():
            with working("Raising the learning rate"):
                losses, diverged = _trained(fit, rates)
            found = judged(rates[: len(losses)], losses, SIGMA * len(rates), diverged=diverged)
            tried = []
            for rate in candidates(found):
                fit.state.restore(before)
                with working(f"Trying a learning rate of {rate:.2g}"):
                    losses, diverged = _trained(fit, approached(rate, steps))
                tried.append((rate, math.inf if diverged else reached(losses)))
    except CnnRegistryError:
        raise
    except Exception as error:  # TensorFlow's
        raise TrainingError(fit.failed(error)) from error
    finally:
        fit.state.restore(before)
    refuse_diverged(tried)
    return replace(found, for_images=fit.recipe.optimizer.for_images, tried=tuple(tried))


def _trained(fit: Fit, rates: Sequence[float]) -> tuple[list[float], bool]:
    """The losses of steps at these rates, and whether they have diverged, which ends them."""
    from .callbacks.ramp import Ramp

    ramp, steps = Ramp(rates), fit.progress.steps_per_epoch
    fit.model.fit(
        fit.batches(max(fit.recipe.epochs, math.ceil(len(rates) / steps))),  # what is mixed when is as planned
        steps_per_epoch=len(rates),
        callbacks=[ramp],
        shuffle=False,
        verbose=0,
    )
    return ramp.losses, ramp.diverged


def refuse_diverged(tried: Sequence[tuple[float, float]]) -> None:
    """Refuse to suggest one of rates that have all diverged.

    Raises:
        TrainingError: they have.
    """
    if not any(math.isfinite(loss) for _, loss in tried):
        rates = [rate for rate, _ in tried]
        raise TrainingError(
            f"The loss diverged at each rate that was tried, from {min(rates):.2g} to {max(rates):.2g}, so none can be "
            f"suggested. Try another --range."
        )


def candidates(found: LearningRates) -> list[float]:
    """The rates to try, rising: from about where the loss falls fastest to somewhat beyond the edge, where it rises."""
    low, high = min(found.steepest, found.tenth), min(found.edge * APART, found.rates[-1])
    count = min(max(round(math.log(high / low, APART)) + 1, 2), MOST_TRIED)
    return [high / APART**step for step in reversed(range(count))]


def approached(rate: float, steps: int) -> list[float]:
    """The rates of so many steps that rise to ``rate`` and stay there."""
    rise = RISE * steps
    return [rate * min((step + 1) / rise, 1.0) for step in range(steps)]


def reached(losses: Sequence[float]) -> float:
    """The mean of the last losses."""
    return float(np.mean(losses[-math.ceil(JUDGED * len(losses)) :]))


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
    edge = int(np.flatnonzero(smoothed <= smoothed[lowest] + spread)[-1])
    return LearningRates(
        tuple(rates),
        tuple(losses),
        tuple(map(float, smoothed)),
        rates[steepest],
        rates[lowest],
        rates[edge],
        diverged,
    )
