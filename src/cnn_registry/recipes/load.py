"""Recipes from names, files and the command line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cnn_registry.errors import RecipeError, UnknownNameError
from cnn_registry.system.files import read_regular
from cnn_registry.system.objects import value_of
from cnn_registry.text import natural_key

from .messages import short
from .schema import Recipe, validated

MAX_BYTES = 2**20
"""The largest recipe file that is read."""

BUILT_IN = resources.files("cnn_registry.recipes") / "built_in"


def recipe_names() -> list[str]:
    """Names of the built-in recipes."""
    names = (item.name.removesuffix(".toml") for item in BUILT_IN.iterdir() if item.name.endswith(".toml"))
    return sorted(names, key=natural_key)


def load_recipe(name: str | Path) -> Recipe:
    """A built-in recipe by name, or one from a TOML file by its path.

    Raises:
        UnknownNameError: neither a built-in recipe nor a ``.toml`` file.
        RecipeError: the file is not valid TOML, or a key or value in it is wrong.
    """
    return read_layers(name)[-1].recipe


@dataclass(frozen=True)
class RecipeLayer:
    """What one recipe says itself, and the recipe that it and all that it extends make together.

    Attributes:
        origin: the built-in recipe's name, or the file's path.
        built_in: whether it comes with this library.
        written: its own settings, nested.
        recipe: the result.
    """

    origin: str
    built_in: bool
    written: Mapping[str, Any]
    recipe: Recipe


def read_layers(name: str | Path) -> list[RecipeLayer]:
    """A recipe and everything that it extends, the last extended first.

    ``extends`` names a built-in recipe, or another file by its path relative to the file that names it.

    Raises:
        UnknownNameError, RecipeError: as `load_recipe`.
    """
    files: list[Path] = []
    chain: list[tuple[str, bool, dict[str, Any]]] = []
    wanted: str | None = str(name)
    while wanted is not None:
        data, source = _read(wanted, files)
        chain.append((source, not wanted.endswith(".toml"), data))
        base = data.get("extends")
        wanted = base if isinstance(base, str) else None
    layers: list[RecipeLayer] = []
    inherited: dict[str, Any] = {}
    for source, built_in, data in reversed(chain):
        inherited = _merged(inherited, data) | {"name": Path(source).stem}
        layers.append(RecipeLayer(source, built_in, data, validated(inherited, source)))
    return layers


def _read(wanted: str, files: list[Path]) -> tuple[dict[str, Any], str]:
    """The content and the source of a recipe that the last of ``files`` extends; a file is added to them."""
    if not wanted.endswith(".toml"):
        if wanted not in recipe_names():
            see = "See all with: cnnreg recipes. A file's name must end in '.toml'."
            raise UnknownNameError("recipe", wanted, recipe_names(), see)
        return _parsed((BUILT_IN / f"{wanted}.toml").read_text(encoding="utf-8"), wanted), wanted
    path = files[-1].parent / wanted if files else Path(wanted)
    try:
        text = read_regular(path, MAX_BYTES).decode()
        if os.path.realpath(path) in map(os.path.realpath, files):
            raise RecipeError(f"The recipe {path} extends itself: {' extends '.join(map(str, [*files, path]))}.")
    except RecipeError:
        raise
    except (OSError, ValueError) as error:
        raise RecipeError(f"The recipe file {path} cannot be read: {error}.") from error
    files.append(path)
    return _parsed(text, str(path)), str(path)


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``["optimizer.learning_rate=0.01", "schedule.name=cosine"]`` into dotted keys and values.

    A value is read as TOML; ``none`` is None, and anything that is not TOML is a string.

    Raises:
        RecipeError: there is no ``=``, or nothing before it.
    """
    settings = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"A setting is written key=value, for instance epochs=3; got {short(assignment)}.")
        settings[key.strip()] = value_of(text.strip())
    return settings


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"The recipe {source} is not valid TOML: {error}.") from error


def _merged(base: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``data`` has in its place, table by table."""
    both = {key: _merged(base[key], value) for key, value in data.items() if isinstance(value, dict) and base.get(key)}
    return {**base, **data, **both}
