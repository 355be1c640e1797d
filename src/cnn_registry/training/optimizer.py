"""From a recipe's settings to a Keras optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import Replacements
from cnn_registry.networks.acceleration import FULL_STEP
from cnn_registry.recipes.schema import Recipe, ScheduleSettings

if TYPE_CHECKING:
    import keras

NOT_DECAYED = ["bias", "gamma", "beta"]
"""Names of variables without weight decay, which would only pull shifts and scales to zero."""

LONGEST_WARMUP = 4
"""A warm-up takes at most a quarter of the training, so that a training of few epochs is not all warm-up."""

Shares = Sequence[tuple["keras.Variable", float]]
"""Variables, each with its share of the learning rate."""


def build_optimizer(recipe: Recipe, steps_per_epoch: int, shares: Shares = ()) -> keras.Optimizer:
    """Keras' optimizer of ``recipe``, with its schedule counted in steps.

    Args:
        recipe: how to train.
        steps_per_epoch: batches per epoch.
        shares: variables that get less than the full learning rate.
    """
    keras = backend.keras()
    settings = recipe.optimizer
    classes = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
    arguments: dict[str, Any] = {
        "learning_rate": learning_rate(recipe.schedule, settings.learning_rate, recipe.epochs, steps_per_epoch),
        "weight_decay": settings.weight_decay or None,
        "global_clipnorm": settings.clipnorm,
    }
    if settings.name == "sgd":
        arguments |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
    elif settings.name == "adamw":
        arguments["weight_decay"] = settings.weight_decay
    optimizer = classes[settings.name](**arguments)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    if shares:
        _share_rate(optimizer, shares)
    return optimizer


def _share_rate(optimizer: keras.Optimizer, shares: Shares) -> None:
    """Have each of some variables move by its share of the optimizer's step.

    Keras has one learning rate per optimizer. Every step is proportional to the rate, its weight decay as well, so a
    share of the rate is that share of the step. What is saved of the optimizer is Keras' own, with the full rate.
    """
    ops = backend.keras().ops

    def apply(grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        before = [ops.copy(variable) for variable, _ in shares]
        getattr(optimizer, FULL_STEP)(grads, trainable_variables)
        for old, (variable, share) in zip(before, shares, strict=True):
            variable.assign(old + share * (variable - old))

    replacements = Replacements()
    replacements.add(optimizer, FULL_STEP, optimizer.apply)
    replacements.add(optimizer, "apply", apply)


def learning_rate(schedule: ScheduleSettings, peak: float, epochs: int, steps_per_epoch: int) -> Any:
    """The rate as a number, or as a Keras schedule over all steps of the training."""
    keras = backend.keras()
    steps, warmup = epochs * steps_per_epoch, warmup_steps(schedule, epochs, steps_per_epoch)
    if schedule.name == "constant" and not warmup:
        return peak
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
        decay_steps=steps - warmup,
        alpha=1.0 if schedule.name == "constant" else 0.0,
    )


def warmup_steps(schedule: ScheduleSettings, epochs: int, steps_per_epoch: int) -> int:
    """The number of steps in which the rate rises from zero, its value in the first step."""
    return min(round(schedule.warmup_epochs * steps_per_epoch), epochs * steps_per_epoch // LONGEST_WARMUP)
