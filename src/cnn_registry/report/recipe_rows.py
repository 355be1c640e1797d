"""A run's recipe as a difference to the recipe that it is based on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cnn_registry.recipes.load import load_recipe, recipe_names
from cnn_registry.recipes.resolution import NOT_SETTINGS, leaves
from cnn_registry.recipes.schema import Recipe

ABSENT = object()


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Every setting of a recipe by its dotted key."""
    return dict(leaves({key: value for key, value in recipe.to_dict().items() if key not in NOT_SETTINGS}))


def base_of(recipe: Recipe) -> Recipe | None:
    """The built-in recipe that has the recipe's name or that it extends; ``None`` where there is none."""
    known = recipe_names()
    name = next((name for name in (recipe.extends, recipe.name) if name in known), None)
    return None if name is None else load_recipe(name)


def differing(all_settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The settings that are not the same everywhere: a row each, of the key and its values."""
    keys = list(dict.fromkeys(key for settings in all_settings.values() for key in settings))
    rows = [(key, [settings.get(key, ABSENT) for settings in all_settings.values()]) for key in keys]
    return [(key, *map(value_text, values)) for key, values in rows if any(value != values[0] for value in values)]


def value_text(value: Any) -> str:
    """A setting's value for people."""
    if value is ABSENT:
        return "\N{EN DASH}"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
