"""Names of a package that are imported when they are first used, so that importing the package costs milliseconds."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

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
    """The ``__getattr__`` of a module that has moved: it gives the names of the new one, with a `DeprecationWarning`.

    Args:
        old: its ``__name__``.
        new: the module that has its names now.
    """

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        value = getattr(import_module(new), name)
        warnings.warn(f"{old} has moved: import {name} from {new}.", DeprecationWarning, stacklevel=2)
        return value

    return get
