"""From a recipe's settings to a Keras optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend

from .recipe import Recipe, ScheduleSettings

if TYPE_CHECKING:
    import keras

NOT_DECAYED = ["bias", "gamma", "beta"]
"""Names of the variables without weight decay: it would only pull shifts and scales to zero."""


LONGEST_WARMUP = 4
"""A warm-up takes at most one fourth of the training, so that a training of few epochs is not all warm-up."""


Shares = Sequence[tuple["keras.Variable", float]]
"""Variables with the share of the learning rate that each gets."""


def build_optimizer(recipe: Recipe, steps_per_epoch: int, shares: Shares = ()) -> keras.Optimizer:
    """The optimizer of ``recipe``, with its schedule counted in steps.

    Args:
        recipe: how to train.
        steps_per_epoch: batches an epoch.
        shares: see there; the other variables get the whole rate.
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
    chosen = classes[settings.name]
    optimizer = (_with_shares(chosen, shares) if shares else chosen)(**arguments)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def _with_shares(optimizer: type[keras.Optimizer], shares: Shares) -> type[keras.Optimizer]:
    """The class with a learning rate of its own for each variable.

    Keras has one rate an optimizer. Every step of ours is proportional to the rate, its weight decay too, so a share of
    the rate is that share of the step.
    """
    ops = backend.keras().ops

    class Discriminative(optimizer):  # type: ignore[misc]  # Keras ships no type information
        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            before = [ops.copy(variable) for variable, _ in shares]
            super().apply(grads, trainable_variables)
            for old, (variable, share) in zip(before, shares, strict=True):
                variable.assign(old + share * (variable - old))

    return Discriminative


def learning_rate(schedule: ScheduleSettings, peak: float, epochs: int, steps_per_epoch: int) -> Any:
    """The rate as a number, or as a Keras schedule over all steps of the training."""
    keras = backend.keras()
    steps = epochs * steps_per_epoch
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), steps // LONGEST_WARMUP)
    if schedule.name == "constant" and not warmup:
        return peak
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
        decay_steps=steps - warmup,
        alpha=1.0 if schedule.name == "constant" else 0.0,
    )
