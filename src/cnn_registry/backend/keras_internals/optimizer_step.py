"""The step of Keras' SGD, Adam and AdamW in one operation per variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from .. import environment
from .checks import holds, note_difference
from .replacements import Replacements, recorded
from .variables import handle

if TYPE_CHECKING:
    import keras

Step = Callable[..., None]
"""`keras.Optimizer.apply`: gradients and the variables that they are of."""

PLAIN_STEPS = "the optimizer takes the steps of plain Keras"


def one_operation_step(optimizer: keras.Optimizer) -> Step | None:
    """``optimizer.apply`` as one operation of TensorFlow per variable, and one before it for its weight decay.

    Keras writes a step as a dozen operations for each variable. That is most of the graph of a training, which is
    traced and optimized before the first step, and a dozen passes through memory in each step. The arithmetic is the
    same except for the order of factors.

    Args:
        optimizer: built.

    Returns:
        The function; ``None`` for an optimizer that is not exactly Keras' SGD, Adam or AdamW, has settings that the
        function does not know, or works differently in the installed Keras.
    """
    keras, tf = environment.keras(), environment.tensorflow()
    kind: Any = type(optimizer)
    if kind not in (keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.AdamW):
        return None
    if tf.distribute.has_strategy() or optimizer.gradient_accumulation_steps or not _steps_agree(kind):
        return None
    if others := _other_settings(optimizer):
        note_difference(f"{kind.__name__} has other settings than expected ({', '.join(others)})", PLAIN_STEPS)
        return None
    return OneOperationStep(optimizer)


def count_of(optimizer: keras.Optimizer) -> Any:
    """The variable that counts an optimizer's steps; its public name divides it where gradients are accumulated."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return getattr(inner, "_iterations", inner.iterations)


def _other_settings(optimizer: keras.Optimizer) -> list[str]:
    """The settings that are on in an optimizer and that `OneOperationStep` does not know."""
    config = optimizer.get_config()
    known = {"name", "learning_rate", "weight_decay", "global_clipnorm", "ema_momentum"}
    known |= {"momentum", "nesterov"} if "momentum" in config else {"beta_1", "beta_2", "epsilon"}
    return [name for name, value in config.items() if name not in known and value not in (None, False)]


@cache
def _steps_agree(kind: Any) -> bool:
    """Whether the steps of an optimizer's class are those of `OneOperationStep`."""

    def works() -> bool:
        import numpy as np

        pairs = zip(_few_steps(kind, faster=True), _few_steps(kind, faster=False), strict=True)
        return all(np.allclose(ours, theirs, rtol=1e-4, atol=1e-6) for ours, theirs in pairs)

    return holds(works, f"the steps of {kind.__name__}", PLAIN_STEPS)


def _few_steps(kind: Any, *, faster: bool) -> list[Any]:
    """Where three steps with all settings lead two variables, and the optimizer's count."""
    keras = environment.keras()
    settings = {"momentum": 0.9, "nesterov": True} if kind is keras.optimizers.SGD else {}
    optimizer = kind(learning_rate=0.1, weight_decay=0.1, global_clipnorm=1.0, name="checked", **settings)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    start = {"kernel": [[1.0, -2.0], [3.0, 0.5]], "bias": [1.0, 2.0]}
    variables = [keras.Variable(value, name=name) for name, value in start.items()]
    optimizer.build(variables)
    called: list[str] = []
    if faster:
        Replacements().add(optimizer, "apply", recorded(OneOperationStep(optimizer), called, "apply"))
    for scale in (0.1, 3.0, 1.0):
        gradients = [keras.ops.convert_to_tensor(value) * scale for value in start.values()]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return [
        keras.ops.convert_to_numpy(value) for value in (*variables, optimizer.iterations, len(called) != 3 * faster)
    ]


class OneOperationStep:
    """See `one_operation_step`.

    Args:
        optimizer: a built SGD, Adam or AdamW without other settings than decay, global clipping and their own.

    Raises:
        AttributeError, ValueError: it is not what it was when this was written.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._is_adam = isinstance(optimizer, environment.keras().optimizers.Adam)
        self._variables = optimizer._trainable_variables
        self._decay = optimizer.weight_decay or 0.0
        decays = [bool(self._decay) and optimizer._use_weight_decay(variable.value) for variable in self._variables]
        slots = [optimizer._momentums, optimizer._velocities] if self._is_adam else [optimizer.momentums or decays]
        self._of = {id(variable): rest for variable, *rest in zip(self._variables, decays, *slots, strict=True)}

    def __call__(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Take a step; where a variable or gradient is of an unusual kind, that of plain Keras."""
        optimizer, ops = self._optimizer, environment.keras().ops
        variables = list(self._variables if trainable_variables is None else trainable_variables)
        if len(grads) != len(variables) or not all(map(self._is_usual, grads, variables)):
            type(optimizer).apply(optimizer, grads, trainable_variables)
            return
        rate = optimizer.learning_rate
        clipping = _clipping(grads, optimizer.global_clipnorm) if optimizer.global_clipnorm else None
        move = self._adam(clipping) if self._is_adam else self._sgd(clipping)
        for gradient, variable in zip(grads, variables, strict=True):
            own_rate = ops.cast(rate, variable.dtype)
            decays, *slots = self._of[id(variable)]
            if decays:
                variable.assign(variable * (1 - own_rate * self._decay))
            move(ops.cast(gradient, variable.dtype), variable, own_rate, *slots)
        for variable in variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        optimizer.iterations.assign_add(1)

    def _is_usual(self, gradient: Any, variable: Any) -> bool:
        is_known = id(variable) in self._of and handle(variable) is not None
        is_moved = isinstance(gradient, environment.tensorflow().Tensor)  # not None, and not of some rows alone
        return is_known and is_moved and not getattr(variable, "overwrite_with_gradient", False)

    def _adam(self, clipping: Any) -> Callable[..., None]:
        keras, optimizer = environment.keras(), self._optimizer
        cast, kind = keras.ops.cast, keras.config.floatx()
        betas, count = (optimizer.beta_1, optimizer.beta_2), cast(optimizer.iterations + 1, kind)
        powers = [keras.ops.power(cast(beta, kind), count) for beta in betas]

        def move(gradient: Any, variable: Any, rate: Any, momentum: Any, velocity: Any) -> None:
            dtype = variable.dtype
            environment.tensorflow().raw_ops.ResourceApplyAdam(
                var=handle(variable),
                m=handle(momentum),
                v=handle(velocity),
                beta1_power=cast(powers[0], dtype),
                beta2_power=cast(powers[1], dtype),
                lr=rate,
                beta1=cast(betas[0], dtype),
                beta2=cast(betas[1], dtype),
                epsilon=cast(optimizer.epsilon, dtype),
                grad=gradient if clipping is None else gradient * cast(clipping, dtype),
            )

        return move

    def _sgd(self, clipping: Any) -> Callable[..., None]:
        cast, raw_ops, optimizer = environment.keras().ops.cast, environment.tensorflow().raw_ops, self._optimizer

        def move(gradient: Any, variable: Any, rate: Any, momentum: Any) -> None:
            dtype = variable.dtype
            if clipping is not None:
                rate = rate * cast(clipping, dtype)  # times the gradient, which need not be written again to be clipped
            if not optimizer.momentum:
                raw_ops.ResourceApplyGradientDescent(var=handle(variable), alpha=rate, delta=gradient)
                return
            raw_ops.ResourceApplyKerasMomentum(
                var=handle(variable),
                accum=handle(momentum),
                lr=rate,
                grad=gradient,
                momentum=cast(optimizer.momentum, dtype),
                use_nesterov=optimizer.nesterov,
            )

        return move


def _clipping(gradients: Sequence[Any], limit: float) -> Any:
    """The factor for all gradients, with which their norm together is at most ``limit``.

    As in Keras it is NaN where the norm is not finite: what has diverged must not just stand still.
    """
    tf = environment.tensorflow()
    norm = tf.sqrt(2 * tf.add_n([tf.nn.l2_loss(tf.cast(gradient, tf.float32)) for gradient in gradients]))
    return limit / tf.maximum(norm, limit) + (norm - norm)
