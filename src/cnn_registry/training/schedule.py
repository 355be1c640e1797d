"""The learning rate over the steps of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnn_registry import backend
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import BestBy, ScheduleSettings
from cnn_registry.runs.history import Epoch, stalls
from cnn_registry.system.objects import called, named_object

LONGEST_WARMUP = 4
"""A warm-up takes at most a quarter of the training, so that a training of few epochs is not all warm-up."""

RISE, FIRST = 0.3, 1 / 25
"""For one cycle: the share of the steps in which the rate rises, and its first value as a share of its peak."""

ENDLESS = 0.01
"""Where an exponential decay ends, which never reaches 0, as a share of its peak."""

IS_CONSTANT = ("constant", "plateau")
"""Schedules whose rate is the same in all steps, as far as they know beforehand."""


def warmup_steps(schedule: ScheduleSettings, epochs: int, steps_per_epoch: int) -> int:
    """The number of steps in which the rate rises from zero, its value in the first step."""
    if schedule.name == "one_cycle":
        return 0
    return min(round(schedule.warmup_epochs * steps_per_epoch), epochs * steps_per_epoch // LONGEST_WARMUP)


def learning_rate(schedule: ScheduleSettings, peak: float, epochs: int, steps_per_epoch: int) -> Any:
    """The rate as a number, or as a Keras schedule over all steps of the training.

    Raises:
        UsageError: an object cannot be found, or does not make a schedule.
    """
    schedules: Any = backend.keras().optimizers.schedules
    steps, warmup = epochs * steps_per_epoch, warmup_steps(schedule, epochs, steps_per_epoch)
    rest = steps - warmup
    if schedule.name in IS_CONSTANT and (schedule.name == "plateau" or not warmup):
        return peak  # a callback sets the rate of a plateau, its warm-up as well
    if schedule.name in ("constant", "cosine"):
        return schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else peak,
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
            decay_steps=rest,
            alpha=1.0 if schedule.name == "constant" else schedule.final or 0.0,
        )
    if schedule.name == "one_cycle":
        rise = max(round(RISE * steps), 1)
        return schedules.CosineDecay(
            peak * FIRST, max(steps - rise, 1), schedule.final or 0.0, warmup_target=peak, warmup_steps=rise
        )
    decay = _decay(schedule, peak, steps, rest, warmup)
    if not warmup:
        return decay
    from .keras_objects import WarmUp

    return WarmUp(decay, warmup)


def _decay(schedule: ScheduleSettings, peak: float, steps: int, rest: int, warmup: int) -> Any:
    """What follows the warm-up, counted from its end."""
    schedules: Any = backend.keras().optimizers.schedules
    if schedule.name == "step":
        boundaries = [max(round(share * steps) - warmup, 1) for share in schedule.milestones]
        values = [peak * schedule.factor**number for number in range(len(boundaries) + 1)]
        return schedules.PiecewiseConstantDecay([boundary - 1 for boundary in boundaries], values)
    if schedule.name == "polynomial":
        return schedules.PolynomialDecay(peak, rest, peak * (schedule.final or 0.0), schedule.power)
    if schedule.name == "exponential":
        return schedules.ExponentialDecay(peak, rest, schedule.final or ENDLESS)
    what = "the schedule"
    made = called(named_object(schedule.name, what), what.capitalize(), peak, rest, **schedule.options)
    if not isinstance(made, schedules.LearningRateSchedule):
        raise UsageError(
            f"{schedule.name} must return a keras.optimizers.schedules.LearningRateSchedule; it returned "
            f"{type(made).__name__}."
        )
    return made


def plateau_rate(
    schedule: ScheduleSettings, peak: float, history: Sequence[Epoch], best_by: BestBy, step: int, warmup: int
) -> float:
    """The rate of a step under ``"plateau"``, which follows from the history alone, so it has no state."""
    rate = peak * schedule.factor ** stalls(history, schedule.patience, best_by)
    return rate * step / warmup if step < warmup else rate
