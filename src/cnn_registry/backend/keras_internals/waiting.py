"""Variables that are declared first, and get their values later or never."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from .. import environment
from .checks import holds
from .global_state import global_state

WAITING = "uninitialized_variables"
"""What Keras calls variables that are declared and have no values."""


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
        return list(global_state().get_global_attribute(WAITING) or [])
    except (ImportError, AttributeError):
        return []


def _set_waiting(variables: list[Any]) -> None:
    with suppress(ImportError, AttributeError):
        global_state().set_global_attribute(WAITING, variables)
