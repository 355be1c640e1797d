"""Code that a recipe file or a run names, which runs only where the user says so.

A setting may name ``module:object``. What a user gives with ``--set``, ``--callback`` or in Python is the user's own
word. A file may come from anybody. To import what it names, or to call that with arguments of the file, is to run code:
``os:system`` is also an object.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnn_registry import backend
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.system.objects import Reference, named_object
from cnn_registry.text import listing

KINDS = {
    "optimizer.name": "optimizers.Optimizer",
    "schedule.name": "optimizers.schedules.LearningRateSchedule",
    "loss.name": "losses.Loss",
    "metrics": "metrics.Metric",
}
"""The classes of Keras whose subclasses a file may name, by setting."""

VARIABLE = "CNNREG_OBJECTS"
"""The environment's variable of the modules that files may name, separated by commas; each with those in it."""


def refuse_foreign_code(recipe: Recipe, named_by: str, keys: Collection[str]) -> None:
    """Refuse a recipe that names code which the user has not allowed; installed classes of `KINDS` need no permission.

    Args:
        recipe: with everything that is in force.
        named_by: the file or run that it comes from, for the message.
        keys: the settings that come from there, by dotted key. All others may name anything.

    Raises:
        UsageError: there is one.
    """
    allowed = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    foreign = [
        name
        for key, name in _named(recipe)
        if key in keys and not _is_in(name.partition(":")[0], allowed) and not _is_installed_class(key, name)
    ]
    if foreign:
        modules = ",".join(dict.fromkeys([*sorted(allowed), *(name.partition(":")[0] for name in foreign)]))
        raise UsageError(
            f"{named_by} names code that would run: {listing(foreign)}. If you trust it, allow its modules in the "
            f"environment: {VARIABLE}={modules}"
        )


def _named(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The settings that name an object by its path, and what they name."""
    names = [("optimizer.name", recipe.optimizer.name), ("schedule.name", recipe.schedule.name)]
    names.append(("loss.name", recipe.loss.name))
    several = {
        "metrics": recipe.metrics,
        "callbacks": recipe.callbacks,
        "augmentation.steps": recipe.augmentation.steps,
    }
    for key, listed in several.items():
        names += [(key, Reference.parse(text).name) for text in listed]
    return ((key, name) for key, name in names if ":" in name)


def _is_in(module: str, allowed: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def _is_installed_class(key: str, name: str) -> bool:
    """Whether an installed package has a class of this name, of the kind that the setting is for."""
    module = name.partition(":")[0]
    top = module.partition(".")[0]
    if key not in KINDS or top in sys.stdlib_module_names or "__main__" in module or not _is_installed(top):
        return False
    try:
        found = named_object(name, "the setting")
    except UsageError:
        return True  # which says more where it is looked up
    kind: Any = reduce(getattr, KINDS[key].split("."), backend.keras())
    return isinstance(found, type) and issubclass(found, kind)


def _is_installed(top: str) -> bool:
    """Whether a module comes from where packages are installed, and not from the current directory."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return False
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    return any("site-packages" in Path(place).parts or "dist-packages" in Path(place).parts for place in places)
