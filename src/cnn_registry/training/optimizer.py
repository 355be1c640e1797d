"""From a recipe's settings to a Keras optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.recipes.schema import Recipe, ScheduleSettings

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
    chosen = _in_one_operation(classes[settings.name])
    arguments: dict[str, Any] = {
        "learning_rate": learning_rate(recipe.schedule, settings.learning_rate, recipe.epochs, steps_per_epoch),
        "weight_decay": settings.weight_decay or None,
        "global_clipnorm": settings.clipnorm,
    }
    if settings.name == "sgd":
        arguments |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
    elif settings.name == "adamw":
        arguments["weight_decay"] = settings.weight_decay
    optimizer = (_with_shares(chosen, shares) if shares else chosen)(**arguments)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def _in_one_operation(optimizer: type[keras.Optimizer]) -> type[keras.Optimizer]:
    """The class with its step as one operation of TensorFlow for each variable, and one before it that decays.

    Keras writes a step as a dozen operations, for each variable anew. That is most of the graph of a training, which is
    traced and optimized before the first step, and a dozen passes through memory in each step. The arithmetic is the
    same, but for the order of factors.
    """
    base, ops = backend.keras().optimizers, backend.keras().ops
    tf = backend.tensorflow()

    class OneOperation(optimizer):  # type: ignore[misc]  # Keras ships no type information
        _powers: Any = None
        _clipping: Any = None

        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            if isinstance(self, base.Adam):
                kind = backend.keras().config.floatx()
                step = ops.cast(self.iterations + 1, kind)
                self._powers = [ops.power(ops.cast(beta, kind), step) for beta in (self.beta_1, self.beta_2)]
            try:
                super().apply(grads, trainable_variables)
            finally:
                self._powers = self._clipping = None

        def _clip_gradients(self, grads: Any) -> Any:
            """SGD moves by rate times gradient, so that its gradients need not be written anew to be clipped."""
            if not self.global_clipnorm or isinstance(self, base.Adam):
                return super()._clip_gradients(grads)
            norm = tf.sqrt(2 * tf.add_n([tf.nn.l2_loss(tf.cast(gradient, tf.float32)) for gradient in grads]))
            # As in Keras, no number where the norm is not finite: what has diverged must not just stand still.
            self._clipping = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm) + (norm - norm)
            return grads

        def _apply_weight_decay(self, variables: Any) -> None:
            """Each variable decays in its own step."""

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            index = self._get_variable_index(variable)
            gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
            if self.weight_decay and self._use_weight_decay(variable):
                variable.assign(variable * (1 - rate * self.weight_decay))
            if isinstance(self, base.Adam):
                power_1, power_2 = (ops.cast(power, variable.dtype) for power in self._powers)
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle,
                    m=self._momentums[index].value.handle,
                    v=self._velocities[index].value.handle,
                    beta1_power=power_1,
                    beta2_power=power_2,
                    lr=rate,
                    beta1=self.beta_1,
                    beta2=self.beta_2,
                    epsilon=self.epsilon,
                    grad=gradient,
                )
                return
            if self._clipping is not None:
                rate *= ops.cast(self._clipping, variable.dtype)
            if self.momentum:
                tf.raw_ops.ResourceApplyKerasMomentum(
                    var=variable.handle,
                    accum=self.momentums[index].value.handle,
                    lr=rate,
                    grad=gradient,
                    momentum=self.momentum,
                    use_nesterov=self.nesterov,
                )
            else:
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)

    return OneOperation


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
