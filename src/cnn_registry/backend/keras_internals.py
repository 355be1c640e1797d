"""What is read from Keras without a public interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from . import environment


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


def call_of(tensor: Any) -> Call:
    """The call that a symbolic tensor comes from; that of an input has no inputs."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return Call(
        history.operation,
        tuple(node.arguments.args),
        dict(node.arguments.kwargs),
        tuple(node.input_tensors),
        tuple(node.outputs),
    )


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


def make_variables(variables: Iterable[Any]) -> None:
    """Give variables of `declared_variables` their initial values."""
    others = _waiting()
    _set_waiting(list(variables))
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
    keras = environment.keras()
    try:
        with declared_variables() as declared:
            made, left = (keras.Variable("ones", shape=(1,), name="checked") for _ in range(2))
        make_variables([made])
        made.assign(made + 1)
        is_declared = [id(variable) for variable in declared.variables] == [id(made), id(left)]
        is_left = not any(variable is left for variable in _waiting())
        return is_declared and is_left and float(made[0]) == 2 and not in_stateless_scope()
    except Exception:  # whatever a renamed attribute or another signature leads to
        return False


def _waiting() -> list[Any]:
    """The variables of this thread that are declared and have no values; none where Keras does not show them."""
    try:
        from keras.src.backend.common import global_state

        return list(global_state.get_global_attribute("uninitialized_variables") or [])
    except (ImportError, AttributeError):
        return []


def _set_waiting(variables: list[Any]) -> None:
    try:
        from keras.src.backend.common import global_state

        global_state.set_global_attribute("uninitialized_variables", variables)
    except (ImportError, AttributeError):
        return
