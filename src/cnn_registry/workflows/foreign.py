"""Code that a recipe file or a run names, which runs only where the user says so.

A setting may name ``module:object``. What a user gives with ``--set``, ``--callback`` or in Python is the user's own
word. A file may come from anybody. To import what it names, or to call that with arguments of the file, is to run code:
``os:system`` is also an object.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.system.objects import Reference
from cnn_registry.text import listing

VARIABLE = "CNNREG_OBJECTS"
"""The environment's variable of the modules that files may name, separated by commas; each with those in it."""


def refuse_foreign_code(recipe: Recipe, named_by: str, keys: Collection[str]) -> None:
    """Refuse a recipe that names objects of modules that the user has not allowed. Nothing is imported.

    Args:
        recipe: with everything that is in force.
        named_by: the file or run that it comes from, for the message.
        keys: the settings that come from there, by dotted key. All others may name anything.

    Raises:
        UsageError: there is one.
    """
    allowed = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    foreign = [name for key, name in _named(recipe) if key in keys and not _is_in(name.partition(":")[0], allowed)]
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
    for key, listed in (("metrics", recipe.metrics), ("callbacks", recipe.callbacks)):
        names += [(key, Reference.parse(text).name) for text in listed]
    return ((key, name) for key, name in names if ":" in name)


def _is_in(module: str, allowed: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)
