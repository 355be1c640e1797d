"""Declarations that fail alone.

A package declares several models in one module. An argument that is wrong or missing in one of the declarations must
not stop the module, or none of its models could be used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from cnn_registry.errors import DeclarationError
from cnn_registry.text import quoted, suggestion

from .discovery import loading
from .spec import SPEC_ATTRIBUTE, Rejected

P = ParamSpec("P")
Decorator = TypeVar("Decorator", bound=Callable[..., Any])


def declaration(register: Callable[P, Decorator]) -> Callable[P, Decorator]:
    """A register function whose errors name what is declared, and concern that alone.

    While a plugin is imported for its entry points, a `DeclarationError` makes that one entry broken. Anywhere else it
    is raised.

    Args:
        register: takes keyword arguments and returns a decorator.
    """
    parameters = inspect.signature(register).parameters

    @wraps(register)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Decorator:
        if len(args) == 1 and inspect.isfunction(args[0]):  # the parentheses were forgotten
            return cast(Decorator, _reject(args[0], _wrong_arguments(register, args[0], parameters, {})))

        def decorate(function: Any) -> Any:
            try:
                if not hasattr(function, "__name__"):
                    raise DeclarationError(f"{register.__name__} decorates a function; got {quoted(function)}.")
                if args or _unfit(parameters, kwargs):
                    raise _wrong_arguments(register, function, parameters, kwargs)
                return register(**kwargs)(function)  # type: ignore[call-arg]  # there are no positional ones
            except DeclarationError as error:
                return _reject(function, error)

        return cast(Decorator, decorate)

    return checked


def _reject(function: Any, error: DeclarationError) -> Any:
    if not loading.get():
        raise error
    setattr(function, SPEC_ATTRIBUTE, Rejected(str(error)))
    return function


def _unfit(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """The names of the arguments that are missing and of those that do not exist, ``None`` if there are none."""
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    missing = [name for name in required if name not in given]
    unknown = [name for name in given if name not in parameters]
    return (missing, unknown) if missing or unknown else None


def _wrong_arguments(
    register: Callable[..., Any], function: Any, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> DeclarationError:
    missing, unknown = _unfit(parameters, given) or ([], [])
    faults = []
    if missing:
        faults.append(f"lacks {_listed(missing)}")
    if unknown:
        faults.append(f"has no parameter {_listed(unknown)}")
    hint = suggestion(unknown[0], parameters) if unknown else ""
    return DeclarationError(
        f"{register.__name__}() of {function.__name__!r} in {function.__module__} "
        f"{' and '.join(faults) or 'takes keyword arguments only'}.{hint}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
