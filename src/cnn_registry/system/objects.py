"""Objects that a setting names: ``module:object``, or ``module:object,key=value``."""

from __future__ import annotations

import re
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from cnn_registry.errors import UsageError
from cnn_registry.text import one_line, quoted, suggestion

from .isolation import isolated

_PATH = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
NAME = rf"{_PATH}(?::{_PATH})?"
"""The form of what is named: a name that the setting knows itself, or ``module:object``."""


@dataclass(frozen=True)
class Reference:
    """What a setting names.

    Attributes:
        name: a name that the setting knows itself, or ``module:object``.
        options: keyword arguments for the object.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read ``name,key=value,…``; a value is read as TOML, and as a string where it is none.

        Raises:
            ValueError: it has another form.
        """
        name, *assignments = re.split(r",(?=\s*[^\W\d]\w*\s*=)", text.strip())
        if not re.fullmatch(NAME, name):
            raise ValueError("expected a name or module:object, with options as in name,key=value")
        return cls(name, dict(map(_option, assignments)))

    @property
    def is_path(self) -> bool:
        """Whether it says where the object is."""
        return ":" in self.name


def _option(assignment: str) -> tuple[str, Any]:
    key, _, value = assignment.partition("=")
    return key.strip(), value_of(value.strip())


def value_of(text: str) -> Any:
    """``text`` read as a value of TOML; ``none`` is None, and anything that is not TOML is a string."""
    if text.lower() == "none":
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError: no TOML, or a number of thousands of digits
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def named_object(name: str, what: str) -> Any:
    """The object that ``module:object`` names. Modules in the current directory come after the installed ones.

    Args:
        name: its module and its name there.
        what: what it is for, for the message: ``"the loss"``.

    Raises:
        UsageError: there is no such module, it cannot be imported, or has no such object.
    """
    module, _, path = name.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        with isolated(f"Importing {module}"):
            found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"There is no module {quoted(error.name)} for {what} {quoted(name)}: it is neither installed nor in "
                f"{here}."
            ) from error
        raise UsageError(f"The module of {what} {quoted(name)} cannot be imported: {one_line(error)}.") from error
    except (Exception, SystemExit) as error:  # anything that a user's module may raise
        raise UsageError(f"The module of {what} {quoted(name)} cannot be imported: {one_line(error)}.") from error
    finally:
        if added:
            with suppress(ValueError):  # the module may have changed the path
                sys.path.remove(here)
    try:
        return reduce(getattr, path.split("."), found)
    except AttributeError as error:
        hint = suggestion(path, (known for known in vars(found) if not known.startswith("_")))
        raise UsageError(f"The module {quoted(module)} has no {quoted(path)} for {what}.{hint}") from error
    except (Exception, SystemExit) as error:  # a module may have a `__getattr__`
        raise UsageError(f"The module of {what} {quoted(name)} cannot be used: {one_line(error)}.") from error


def takes(function: Any, argument: str) -> bool:
    """Whether a function has an argument of this name, as far as it can be seen."""
    try:
        return argument in signature(function).parameters
    except (TypeError, ValueError):  # it is written in C, or not a function at all
        return False


def called(function: Any, what: str, *args: Any, **options: Any) -> Any:
    """What an object of a user's makes of its arguments.

    Raises:
        UsageError: it cannot be called so, or fails.
    """
    try:
        with isolated(f"Calling {getattr(function, '__name__', repr(function))}"):
            return function(*args, **options)
    except (Exception, SystemExit) as error:  # anything that it may raise
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        name = getattr(function, "__name__", repr(function))
        raise UsageError(
            f"{what} cannot be made by {name}{given and ' with ' + given[2:]}: {one_line(error)}."
        ) from error
