"""Who wins, and where each value comes from.

From the weakest to the strongest: what is inherited from built-in recipes, what the model's plugin adjusts in them,
what pretrained weights need, the keys of the user's own recipe, and single settings (``--set``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .load import load_recipe, read_layers, recipe_names
from .schema import Recipe, is_name, put, validated

NOT_SETTINGS = ("name", "summary", "extends")
"""What a recipe says of itself."""

UNSET = "not set"
"""The origin of a value that nothing sets."""


@dataclass(frozen=True)
class Layer:
    """Settings from one place.

    Attributes:
        origin: the place, for people to read.
        settings: values by dotted key.
        own: whether the user wrote them.
    """

    origin: str
    settings: Mapping[str, Any]
    own: bool = False


@dataclass(frozen=True)
class Resolved:
    """A recipe, and where each of its values comes from.

    Attributes:
        recipe: the result.
        origins: the places by dotted key; a key that nothing sets is not there.
        own: the dotted keys that the user wrote.
        inherited: the values by dotted key that would hold without the user's.
    """

    recipe: Recipe
    origins: Mapping[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    inherited: Mapping[str, Any] = field(default_factory=dict)

    def with_layer(self, layer: Layer) -> Resolved:
        """With the settings of one more place, which is stronger than all so far.

        Raises:
            RecipeError: a key is unknown or a value is out of range.
        """
        settings = dict(leaves(layer.settings))
        return _noted(replace(self, recipe=self.recipe.with_settings(settings)), layer, settings)

    def rows(self) -> list[tuple[str, Any, str]]:
        """Each setting by its dotted key, with its value and where that comes from, in the order of the schema."""
        data = {key: value for key, value in self.recipe.to_dict().items() if key not in NOT_SETTINGS}
        return [(key, value, self._origin(key)) for key, value in leaves(data)]

    def _origin(self, key: str) -> str:
        parts = key.split(".")
        above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.origins[name] for name in above if name in self.origins), UNSET)


def resolve(
    recipe: str | Path | Recipe,
    adjustments: Mapping[str, Mapping[str, Any]],
    adjusted_by: str,
    needs: Iterable[Layer] = (),
) -> Resolved:
    """The recipe that the user asked for, before single settings.

    Args:
        recipe: a built-in recipe's name, a TOML file, or a recipe.
        adjustments: what the model's plugin changes in built-in recipes: dotted settings by the recipe's name.
        adjusted_by: the model's name, for the origin of those values.
        needs: settings that are stronger than these, and weaker than what the user wrote.

    Raises:
        UnknownNameError: there is no such recipe.
        RecipeError: a file cannot be read, or a key or value in it is wrong.
    """
    inherited, written = _parts(recipe)
    changes = [
        Layer(f"{adjusted_by} for {layer.origin}", adjustments[layer.origin])
        for layer in inherited
        if adjustments.get(layer.origin)
    ]
    named = [replace(layer, origin=f"recipe {layer.origin}") for layer in inherited]
    return _stacked([*named, *changes, *needs, *written], recipe)


def _parts(recipe: str | Path | Recipe) -> tuple[list[Layer], list[Layer]]:
    """What a recipe inherits from built-in ones, and what the user's own recipes say."""
    if not isinstance(recipe, Recipe):
        layers = [Layer(found.origin, found.written, own=not found.built_in) for found in read_layers(recipe)]
        return [layer for layer in layers if not layer.own], [layer for layer in layers if layer.own]
    known = recipe_names()
    base = next((name for name in (recipe.name, recipe.extends) if name in known), None)
    if base is None:
        return [], [Layer(f"recipe {recipe.name}", recipe.model_dump(mode="json", exclude_unset=True), own=True)]
    # A recipe that was read by its name and changed: what differs from that one is what the user wrote.
    before = dict(leaves(load_recipe(base).to_dict()))
    differs = {key: value for key, value in leaves(recipe.to_dict()) if key not in before or before[key] != value}
    return _parts(base)[0], [Layer(f"recipe {recipe.name}", differs, own=True)]


def _stacked(layers: Sequence[Layer], recipe: str | Path | Recipe) -> Resolved:
    """The recipe that ``layers`` make, each stronger than those before it."""
    data: dict[str, Any] = {}
    for layer in layers:
        for key, value in leaves(layer.settings):
            put(data, key, value)
    given = recipe.to_dict() if isinstance(recipe, Recipe) else {"name": Path(recipe).stem}
    data |= {key: given[key] for key in NOT_SETTINGS if key in given}
    resolved = Resolved(validated(data, str(given["name"])))
    for layer in layers:
        resolved = _noted(resolved, layer, dict(leaves(layer.settings)))
    return resolved


def _noted(resolved: Resolved, layer: Layer, settings: Mapping[str, Any]) -> Resolved:
    """With the origin of ``settings``, which are those of ``layer``, written down."""
    origins = {key: origin for key, origin in resolved.origins.items() if not _is_below(key, settings)}
    own = {key for key in resolved.own if not _is_below(key, settings)}
    return replace(
        resolved,
        origins=origins | dict.fromkeys(settings, layer.origin),
        own=frozenset(own | settings.keys() if layer.own else own),
        inherited=resolved.inherited if layer.own else {**resolved.inherited, **settings},
    )


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted keys and values."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        elif is_name(f"{prefix}{key}", value):
            yield f"{key}.name", value
        else:
            yield f"{prefix}{key}", value


def _is_below(key: str, settings: Mapping[str, Any]) -> bool:
    """Whether ``settings`` set ``key`` or a table that holds it."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in settings for length in range(1, len(parts) + 1))
