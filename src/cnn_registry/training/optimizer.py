"""From a recipe's settings to a Keras optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend.keras_internals import Replacements
from cnn_registry.errors import UsageError
from cnn_registry.networks.acceleration import FULL_STEP
from cnn_registry.recipes.schema import OptimizerSettings, Recipe
from cnn_registry.system.objects import called, named_object, takes
from cnn_registry.text import counted, suggestion

from .schedule import learning_rate

if TYPE_CHECKING:
    import keras

NOT_DECAYED = ["bias", "gamma", "beta"]
"""Names of variables without weight decay, which would only pull shifts and scales to zero."""

NO_OPTIMIZERS = ("Optimizer", "LossScaleOptimizer")
"""What Keras keeps beside its optimizers: their base, and a wrapper."""

Shares = Sequence[tuple["keras.Variable", float]]
"""Variables, each with its share of the learning rate."""


def build_optimizer(recipe: Recipe, steps_per_epoch: int, shares: Shares = ()) -> keras.Optimizer:
    """Keras' optimizer of ``recipe``, with its schedule counted in steps.

    Args:
        recipe: how to train.
        steps_per_epoch: batches per epoch.
        shares: variables that get less than the full learning rate.

    Raises:
        UsageError: there is no such optimizer or schedule, it does not take its arguments, or it averages weights;
            or it would never change them.
    """
    settings, steps = recipe.optimizer, recipe.epochs * steps_per_epoch
    if recipe.accumulate > steps:
        raise UsageError(
            f"The weights would change after {recipe.accumulate} steps, and the training has {counted(steps, 'step')}. "
            f"Lower accumulate or batch_size, or train for more epochs."
        )
    rate = settings.learning_rate  # which is set by the clock where there is a limit
    if not recipe.time_limit:
        rate = learning_rate(recipe.schedule, rate, recipe.epochs, steps_per_epoch)
    maker = find_optimizer(settings.name)
    arguments = _arguments(settings, maker)
    if recipe.accumulate > 1:
        arguments["gradient_accumulation_steps"] = recipe.accumulate
    optimizer = called(maker, "The optimizer", learning_rate=rate, **arguments)
    if not isinstance(optimizer, backend.keras().optimizers.Optimizer):
        raise UsageError(f"{settings.name} must make a keras.Optimizer; it made {type(optimizer).__name__}.")
    if optimizer.use_ema:
        raise UsageError(
            f"{settings.name} averages the weights (use_ema), and Keras puts the average in their place at the end of "
            f"each fit, so a resumed training would take another course. Use the recipe's ema, in epochs."
        )
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    if shares:
        _share_rate(optimizer, shares)
    return optimizer


def find_optimizer(name: str) -> Any:
    """The class or function that a name stands for: an optimizer of Keras in any case, or ``module:object``.

    Raises:
        UsageError: there is none.
    """
    if ":" in name:
        return named_object(name, "the optimizer")
    optimizers: Any = backend.keras().optimizers
    known = {
        key.lower(): kind
        for key, kind in vars(optimizers).items()
        if isinstance(kind, type) and issubclass(kind, optimizers.Optimizer) and key not in NO_OPTIMIZERS
    }
    if name.lower() not in known:
        raise UsageError(
            f"Keras has no optimizer {name!r}.{suggestion(name, known)} It has {', '.join(sorted(known))}; others are "
            f"written module:object."
        )
    return known[name.lower()]


def _arguments(settings: OptimizerSettings, maker: Any) -> dict[str, Any]:
    """The settings that an optimizer takes. What is not set is left to its defaults, so that any object will do."""
    arguments: dict[str, Any] = {}
    if settings.weight_decay or settings.name.lower() == "adamw":  # whose own default is not 0
        arguments["weight_decay"] = settings.weight_decay
    if settings.clipnorm:
        arguments["global_clipnorm"] = settings.clipnorm
    for name in ("momentum", "nesterov"):  # a recipe has them for SGD, and another optimizer may be chosen for it
        if takes(maker, name):
            arguments[name] = getattr(settings, name)
    return arguments | settings.options


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
