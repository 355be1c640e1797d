"""Names of a package that are imported when they are first used, so that importing the package costs milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from .callers import warn_caller

ROOT = __name__.partition(".")[0]


def lazy_names(
    package: str, homes: Mapping[str, str], subpackages: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package (PEP 562).

    Args:
        package: its ``__name__``.
        homes: the module that defines each name, below ``cnn_registry``.
        subpackages: packages below it that are attributes without an import of their own.
    """

    def get(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f"{ROOT}.{homes[name]}"), name)
        if name in subpackages:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, *subpackages})

    return get, names


def moved_names(old: str, new: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that has moved: it returns public names, with a `DeprecationWarning`.

    Args:
        old: the module's ``__name__``.
        new: the public module that now has its names.
    """

    def get(name: str) -> Any:
        home = import_module(new)
        if name.startswith("__") or name not in home.__all__:
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        warn_caller(f"{old} has moved: import {name} from {new}.", DeprecationWarning)
        return getattr(home, name)

    return get
