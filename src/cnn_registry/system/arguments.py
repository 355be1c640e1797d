"""Arguments of public functions, which are refused in one line where they have another type than is declared."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from cnn_registry.errors import UsageError
from cnn_registry.text import quoted, suggestion

P = ParamSpec("P")
R = TypeVar("R")

NAMES: dict[Any, str] = {
    types.NoneType: "None",
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a string",
    Path: "a path",
}
"""What an annotation is called in a message."""


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses an argument of another type than its annotation, before it does anything.

    NumPy's numbers count as Python's, whatever names a file as a path, and as a sequence whatever can be gone through
    more than once, such as a set or an array. Not checked are what an annotation names for type checkers alone, such as
    Keras' classes, the entries of tuples, and the shapes of arrays.

    Raises:
        UsageError: an argument has another type, or is none of the values that its annotation lists.
    """
    signature = inspect.signature(function)
    names = inspect.unwrap(function).__globals__
    kinds = cache(lambda: {name: _annotation(found, names) for name, found in signature.parameters.items()})

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            given = {}  # Python's own message about the call follows
        for name, kind in kinds().items():
            if name in given and not _fits(given[name], kind):
                raise UsageError(_refusal(name, kind, given[name]))
        return function(*args, **kwargs)

    return checked


def _annotation(parameter: inspect.Parameter, names: dict[str, Any]) -> Any:
    """The type of a parameter; `Any` where only type checkers know it, for ``self``, and for a group of arguments."""
    if parameter.annotation is parameter.empty or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return Any
    alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return get_type_hints(alone, names)[parameter.name]
    except NameError:
        return Any


def _fits(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if options := _options(kind):
        return any(_fits(value, option) for option in options)
    origin = get_origin(kind)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is types.NoneType:
        return value is None
    if kind is bool:
        return type(value).__name__ in ("bool", "bool_")  # Python's and NumPy's
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if kind is Path:
        return isinstance(value, PathLike)
    if origin in (Sequence, Iterable):
        entry, *_ = get_args(kind)
        return (
            isinstance(value, Collection if origin is Sequence else Iterable)
            and not isinstance(value, (str, bytes, Mapping))
            and not (isinstance(value, (list, tuple)) and not all(_fits(part, entry) for part in value))
        )
    if origin is Mapping:
        key, part = get_args(kind)
        return isinstance(value, Mapping) and all(_fits(k, key) and _fits(v, part) for k, v in value.items())
    return not isinstance(kind, type) or isinstance(value, kind)


def _options(kind: Any) -> tuple[Any, ...]:
    """The types of a union, otherwise nothing."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()


def _refusal(name: str, kind: Any, value: Any) -> str:
    literals = [option for option in _options(kind) or (kind,) if get_origin(option) is Literal]
    values = [value for literal in literals for value in get_args(literal)]
    hint = suggestion(value, values) if isinstance(value, str) else ""
    return f"{name} must be {_phrase(kind)}; got {quoted(value)}.{hint}"


def _phrase(kind: Any) -> str:
    *words, last = _words(kind)
    return f"{', '.join(words)}{' or ' if words else ''}{last}"


def _words(kind: Any) -> list[str]:
    """What may be given, each a part of a sentence."""
    if options := _options(kind):
        return [word for option in options for word in _words(option)]
    origin = get_origin(kind)
    if origin is Literal:
        return [repr(value) for value in get_args(kind)]
    if origin in (Sequence, Iterable):
        return [f"a list (each entry {_phrase(get_args(kind)[0])})"]
    if origin is Mapping:
        parts = [part for part in zip(("key", "value"), get_args(kind), strict=True) if part[1] is not Any]
        return [f"a dict ({', '.join(f'each {what} {_phrase(part)}' for what, part in parts)})"]
    name = getattr(origin or kind, "__name__", str(kind))
    return [NAMES.get(kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"]
