"""All use of Keras, TensorFlow and NumPy beyond their public interfaces.

What is relied on is checked once per process, by what it does and not by a version. Where it does not hold, the caller
does without, one line says so, and training is that of plain Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from cnn_registry.errors import BackendError
from cnn_registry.system.progress import note
from cnn_registry.text import one_line

from . import environment

if TYPE_CHECKING:
    import keras

Step = Callable[..., None]
"""`keras.Optimizer.apply`: gradients and the variables that they are of."""

PutBack = Callable[[], None]
"""What gives a part of the process back as it was."""

WAITING = "uninitialized_variables"
"""What Keras calls variables that are declared and have no values."""

PLAIN_STEPS = "the optimizer takes the steps of plain Keras"


class Call(NamedTuple):
    """One call of an operation in the graph of a functional or sequential model.

    Attributes:
        operation: the layer, model or function of ``keras.ops`` that was called.
        args, kwargs: what it was called with, symbolic tensors among them.
        inputs: the symbolic tensors among ``args`` and ``kwargs``.
        outputs: the symbolic tensors that came out.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def has_graph(model: keras.Model) -> bool:
    """Whether a model is functional or sequential. The layers of others are called by code of their own."""
    return bool(getattr(model, "inputs", None))


def call_of(tensor: Any) -> Call:
    """The call that a symbolic tensor comes from; that of an input has no inputs."""
    history = tensor._keras_history
    return _call(history.operation, history.operation._inbound_nodes[history.node_index])


def calls_of(layer: Any) -> list[Call]:
    """The calls of a layer in graphs, in their order."""
    return [_call(layer, node) for node in layer._inbound_nodes]


def _call(operation: Any, node: Any) -> Call:
    arguments = node.arguments
    return Call(
        operation, tuple(arguments.args), dict(arguments.kwargs), tuple(node.input_tensors), tuple(node.outputs)
    )


@cache
def graph_is_known() -> bool:
    """Whether `call_of` and `calls_of` work in the installed Keras."""

    def works() -> bool:
        keras = environment.keras()
        inputs = [keras.Input((2,), name=f"checked_{number}") for number in range(2)]
        layer = keras.layers.ReLU(name="checked")
        outputs = [layer(tensor) for tensor in inputs]
        called = calls_of(layer)
        return (
            [(id(call.inputs[0]), id(call.outputs[0])) for call in called]
            == [(id(one), id(other)) for one, other in zip(inputs, outputs, strict=True)]
            and call_of(outputs[1]).operation is layer
            and not call_of(inputs[0]).inputs
        )

    return holds(works, "the calls of layers", "layers compute in float32, and batch normalisation is not folded")


@cache
def policy_is_settable() -> bool:
    """Whether a built layer can be given another dtype policy, while its weights stay what they are."""

    def works() -> bool:
        keras = environment.keras()
        layer = keras.layers.Dense(1, kernel_initializer="ones", name="checked")
        layer.build((None, 1))
        layer.dtype_policy = "mixed_bfloat16"
        outputs = layer(keras.ops.ones((1, 1)))
        types = [keras.backend.standardize_dtype(item.dtype) for item in (layer.kernel, outputs)]
        return types == ["float32", "bfloat16"] and layer.compute_dtype == "bfloat16"

    return holds(works, "the dtype policies of built layers", "layers compute in float32")


@cache
def methods_are_replaceable() -> bool:
    """Whether Keras calls the methods of a layer that were replaced by `Replacements`."""

    def works() -> bool:
        keras = environment.keras()
        called: list[str] = []
        layer = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="checked")
        layer.build((None, 1, 1, 1))
        replacements = Replacements()
        for name in ("call", "convolution_op"):
            replacements.add(layer, name, _counted(getattr(layer, name), called, name))
        inputs = keras.ops.ones((1, 1, 1, 1))
        layer(inputs, training=True)
        replacements.undo()
        layer(inputs, training=True)
        return called == ["call", "convolution_op"]

    return holds(works, "calls of a layer's methods", "training steps are those of plain Keras")


def _counted(method: Callable[..., Any], called: list[str], name: str) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return method(*args, **kwargs)

    return counted


MODEL_NEEDS = ("_compute_loss", "_loss_tracker", "_aggregate_additional_loss", "_flatten_layers")
"""What `share_steps` calls or replaces of a model. Without one, replicas would train something else, in silence."""

MIRRORED_NEEDS = {"model": ("_maybe_symbolic_build",), "optimizer": ("_all_reduce_sum_gradients",)}
"""What it replaces besides, of a model and of its optimizer, where one process has several devices."""


def require_shareable_steps(model: keras.Model, *, mirrored: bool) -> None:
    """Refuse to train with several replicas where Keras lacks what that is built on.

    Args:
        model: compiled.
        mirrored: whether the replicas are devices of one process.

    Raises:
        BackendError: Keras lacks something.
    """
    needed = [(model, name) for name in MODEL_NEEDS]
    if mirrored:
        needed += [(model, name) for name in MIRRORED_NEEDS["model"]]
        needed += [(model.optimizer, name) for name in MIRRORED_NEEDS["optimizer"]]
    for owner, name in needed:
        if not hasattr(owner, name):
            raise BackendError(
                f"Keras {environment.keras().__version__} has no {name!r}, on which training with several devices or "
                f"processes is built. Use --distribute none, or Keras 3.15."
            )


def all_layers(model: keras.Model) -> list[Any]:
    """The layers of a model, and those in its layers."""
    return list(model._flatten_layers(include_self=False))


class Replacements:
    """Methods of single objects that are replaced by functions, until they are put back.

    Keras saves, copies and pickles an object by its class and settings, so it is a plain object there all the time.
    """

    def __init__(self) -> None:
        self._places: list[tuple[dict[str, Any], str]] = []

    def add(self, owner: Any, name: str, function: Callable[..., Any]) -> None:
        """Have ``owner.name`` be ``function``."""
        own = vars(owner)  # not setattr, which Keras extends
        own[name] = function
        self._places.append((own, name))

    def undo(self) -> None:
        """Put the methods of the classes back."""
        while self._places:
            own, name = self._places.pop()
            own.pop(name, None)


def is_replaced(owner: Any, name: str) -> bool:
    """Whether `Replacements` has replaced the method of that name."""
    return name in vars(owner)


def setting(layer: Any, name: str) -> Any:
    """A setting of a layer; of one that the installed Keras does not have, a value that equals no other."""
    try:
        return getattr(layer, name)
    except AttributeError:
        _note_missing(type(layer).__name__, name)
        return object()


@cache
def _note_missing(layer: str, name: str) -> None:
    _note(f"{layer} has no attribute {name!r}", "such layers take the training steps of plain Keras")


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
        _note(f"{kind.__name__} has other settings than expected ({', '.join(others)})", PLAIN_STEPS)
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
        Replacements().add(optimizer, "apply", _counted(OneOperationStep(optimizer), called, "apply"))
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


def handle(variable: Any) -> Any:
    """TensorFlow's resource that holds the value of a Keras variable; ``None`` where there is no single one."""
    try:
        return getattr(variable.value, "handle", None)
    except ValueError:  # there is one for each device
        return None


def move(variable: Any, towards: Any, share: Any) -> None:
    """Move a variable by a share of the way towards another, in one pass through memory."""
    share = environment.keras().ops.cast(share, variable.dtype)
    resource, difference = handle(variable), variable.value - towards.value
    if resource is None:
        variable.assign(variable.value - share * difference)
    else:
        environment.tensorflow().raw_ops.ResourceApplyGradientDescent(var=resource, alpha=share, delta=difference)


def take_any_size(model: keras.Model) -> bool:
    """Have a model with a graph take images of other sizes than it was built for; false where that is not possible.

    Its layers do. Keras would compare them with the size of its input.
    """
    try:
        model.input_spec = None
    except AttributeError:
        return False
    return model.input_spec is None


@contextmanager
def without_optimizer(model: keras.Model) -> Iterator[None]:
    """Within the block a model has no optimizer, whose state Keras would save and load with its weights.

    Where Keras does not allow it, the file is larger and no less right.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        yield
        return
    try:
        model.optimizer = None
    except AttributeError:
        yield
        return
    try:
        yield
    finally:
        model.optimizer = optimizer


@dataclass
class Declared:
    """What happened to variables in a block of `declared_variables`, known at its end.

    Attributes:
        variables: those that were declared.
        has_values: whether one of them was given a value nevertheless, which is lost.
    """

    variables: list[Any] = field(default_factory=list)
    has_values: bool = False


@contextmanager
def declared_variables() -> Iterator[Declared]:
    """Within the block, variables are declared and get no values.

    Those that `make_variables` is not called for never take memory. A `keras.StatelessScope` alone would leave them to
    the next one, which makes them all.
    """
    declared, before = Declared(), {id(variable) for variable in _waiting()}
    scope = environment.keras().StatelessScope(initialize_variables=False)
    try:
        with scope:
            yield declared
    finally:
        waiting = _waiting()
        declared.variables += [variable for variable in waiting if id(variable) not in before]
        declared.has_values = any(scope.get_current_value(variable) is not None for variable in declared.variables)
        _set_waiting([variable for variable in waiting if id(variable) in before])


def make_variables(variables: Iterable[Any], initializer: Callable[..., Any] | None = None) -> None:
    """Give variables of `declared_variables` their initial values; with an ``initializer``, the values that it returns.

    An initializer is called with a shape and ``dtype``.
    """
    others, made = _waiting(), list(variables)
    for variable in made if initializer else ():
        variable._initializer = initializer
    _set_waiting(made)
    try:
        with environment.keras().StatelessScope():
            pass  # at its end, Keras makes all variables that wait
    finally:
        _set_waiting(others)


def in_stateless_scope() -> bool:
    """Whether the caller is within a `keras.StatelessScope`, where no variable gets a value."""
    with environment.keras().StatelessScope(initialize_variables=False) as scope:
        return scope.original_scope is not None


@cache
def variables_can_wait() -> bool:
    """Whether `declared_variables` and `make_variables` work in the installed Keras."""

    def works() -> bool:
        keras = environment.keras()
        with declared_variables() as declared:
            made, left = (keras.Variable("ones", shape=(1,), name="checked") for _ in range(2))
        make_variables([made])
        made.assign(made + 1)
        is_declared = [id(variable) for variable in declared.variables] == [id(made), id(left)]
        is_left = not any(variable is left for variable in _waiting())
        return is_declared and is_left and float(made[0]) == 2 and not in_stateless_scope()

    return holds(works, "variables without values", "parts of networks are cut from whole ones, which takes memory")


def _waiting() -> list[Any]:
    """The variables of this thread that are declared and have no values; none where Keras does not show them."""
    try:
        return list(_global_state().get_global_attribute(WAITING) or [])
    except (ImportError, AttributeError):
        return []


def _set_waiting(variables: list[Any]) -> None:
    with suppress(ImportError, AttributeError):
        _global_state().set_global_attribute(WAITING, variables)


def _global_state() -> Any:
    """What Keras keeps for each thread."""
    environment.keras()  # with TensorFlow prepared, if nobody has imported it
    return import_module("keras.src.backend.common.global_state")


def seeds() -> list[PutBack]:
    """What puts back the global seeds of Keras and TensorFlow, and the generators that follow from them."""
    found = []
    for keep, whose in ((_keras_seeds, "Keras"), (_tensorflow_seed, "TensorFlow")):
        try:
            found.append(keep())
        except (ImportError, AttributeError) as error:
            _note_unkept(f"the global seed of {whose} is not where it was ({one_line(error)})", "that of this process")
    return found


def determinism() -> PutBack:
    """What makes TensorFlow as deterministic as it is now; it can only be switched on by a public name."""
    try:
        config = import_module("tensorflow.python.framework.config")
        was_on, disable = config.is_op_determinism_enabled(), config.disable_op_determinism
    except (ImportError, AttributeError) as error:
        _note_unkept(f"determinism cannot be switched off ({one_line(error)})", "this process")
        return lambda: None
    return (lambda: None) if was_on else disable


@cache
def _note_unkept(what: str, whose: str) -> None:
    _note(what, f"{whose} stays as the training leaves it")


def _keras_seeds() -> PutBack:
    state = _global_state()
    before = {name: state.get_global_attribute(name) for name in ("global_random_seed", "global_seed_generator")}

    def put_back() -> None:
        for name, value in before.items():
            state.set_global_attribute(name, value)

    return put_back


def _tensorflow_seed() -> PutBack:
    """The seed, and how far the generator of operations' seeds has come."""
    context = import_module("tensorflow.python.eager.context").context()
    seed = context._seed
    # TensorFlow makes the generator when a seed is first set.
    generator = getattr(context, "_rng", None) if seed is None else context._rng
    state = None if generator is None else generator.getstate()

    def put_back() -> None:
        context._seed, context._rng = seed, generator
        if generator is not None:
            generator.setstate(state)

    return put_back


class Peers(NamedTuple):
    """How TensorFlow is asked about the other processes of a cluster.

    Attributes:
        check: raises TensorFlow's error unless a task answers; its name, and ``timeout_in_ms``.
        abort: ends all computations that wait for other tasks; an error's code, and its message.
    """

    check: Callable[..., None]
    abort: Callable[..., None]


def peers(strategy: Any) -> Peers | None:
    """What is asked about the other workers of a strategy, whose own look at them ends; ``None`` where that is gone.

    TensorFlow's own takes up to a minute, and logs what it finds.
    """
    tf = environment.tensorflow()
    try:
        context = import_module("tensorflow.python.eager.context").context()
        found = Peers(context.check_collective_ops_peer_health, context.abort_collective_ops)
        strategy.extended._check_health_thread_should_stop.set()
    except (ImportError, AttributeError) as error:
        note(
            f"In TensorFlow {tf.__version__}, workers cannot be asked whether they are there ({one_line(error)}); one "
            f"that is lost is found by TensorFlow alone, which takes minutes."
        )
        return None
    return found


def uses_onednn() -> bool | None:
    """Whether TensorFlow uses oneDNN's operations; ``None`` where it does not say so."""
    environment.tensorflow()
    try:
        # No public function says so; TensorFlow's own tests ask here.
        from tensorflow.python.util._pywrap_util_port import IsMklEnabled
    except ImportError:
        return None
    return bool(IsMklEnabled())


def vector_instructions() -> Mapping[str, bool] | None:
    """The processor's vector instructions by NumPy's names for them, on every platform; ``None`` where it has none."""
    try:
        # No public function of NumPy's returns them.
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        return None
    return dict(features)


def holds(works: Callable[[], bool], what: str, consequence: str) -> bool:
    """Whether a check succeeds; a line where it does not, or fails in any way."""
    try:
        works_here, fault = works(), ""
    except Exception as error:  # whatever a renamed attribute or another signature leads to
        works_here, fault = False, f" ({one_line(error)})"
    if not works_here:
        _note(f"{what} are not as expected{fault}", consequence)
    return works_here


def _note(what: str, consequence: str) -> None:
    """One line about what is not as it was when this package was written."""
    note(f"In Keras {environment.keras().__version__}, {what}; {consequence}.")
