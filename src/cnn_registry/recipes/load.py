"""Recipes from names, files and the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from cnn_registry.errors import RecipeError, UnknownNameError
from cnn_registry.text import natural_key

from .messages import short
from .schema import Recipe, validated

BUILT_IN = resources.files("cnn_registry.recipes") / "built_in"


def recipe_names() -> list[str]:
    """Names of the built-in recipes."""
    names = (item.name.removesuffix(".toml") for item in BUILT_IN.iterdir() if item.name.endswith(".toml"))
    return sorted(names, key=natural_key)


def load_recipe(name: str | Path) -> Recipe:
    """A built-in recipe by name, or one from a TOML file by its path.

    Raises:
        UnknownNameError: neither a built-in recipe nor a ``.toml`` file.
        RecipeError: the file is no TOML, or a key or value in it is wrong.
    """
    if str(name).endswith(".toml"):
        path = Path(name)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise RecipeError(f"The recipe file {path} cannot be read: {error}.") from error
        return _parsed(text, path.stem, str(path))
    return _built_in(str(name))


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``["optimizer.learning_rate=0.01", "schedule.name=cosine"]`` into dotted keys and values.

    A value is read as TOML; ``none`` is None, and what is no TOML is a string.

    Raises:
        RecipeError: there is no ``=``, or nothing before it.
    """
    settings = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"A setting is written key=value, for instance epochs=3; got {short(assignment)}.")
        settings[key.strip()] = _value(text.strip())
    return settings


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError: no TOML, or a number of thousands of digits
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _built_in(name: str) -> Recipe:
    if name not in recipe_names():
        see = "See all with: cnnreg recipes. A file's name must end in '.toml'."
        raise UnknownNameError("recipe", name, recipe_names(), see)
    return _parsed((BUILT_IN / f"{name}.toml").read_text(encoding="utf-8"), name, name)


def _parsed(text: str, name: str, source: str) -> Recipe:
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"The recipe {source} is no TOML: {error}.") from error
    base = data.get("extends")
    inherited = _merged(_built_in(base).model_dump(exclude_unset=True), data) if isinstance(base, str) else data
    return validated(inherited | {"name": name}, source)


def _merged(base: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``data`` has in its place, table by table."""
    both = {key: _merged(base[key], value) for key, value in data.items() if isinstance(value, dict) and base.get(key)}
    return {**base, **data, **both}
