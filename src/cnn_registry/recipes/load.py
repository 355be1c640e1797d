"""Recipes from names, files and the command line."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cnn_registry.errors import RecipeError
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import read_regular
from cnn_registry.system.objects import value_of
from cnn_registry.text import LONGEST_NAME, natural_key, quoted, shorten

from .installed import MAX_BYTES, installed_recipes, read_installed
from .schema import Recipe, is_name, validated, with_none

BUILT_IN = resources.files("cnn_registry.recipes") / "built_in"


def built_in_names() -> list[str]:
    """Names of the built-in recipes."""
    names = (item.name.removesuffix(".toml") for item in BUILT_IN.iterdir() if item.name.endswith(".toml"))
    return sorted(names, key=natural_key)


def recipe_names() -> list[str]:
    """Names of the built-in recipes, and of those that come with plugins."""
    built_in = built_in_names()
    return [*built_in, *(name for name in installed_recipes() if name not in built_in)]


@checked_arguments
def load_recipe(name: str | Path) -> Recipe:
    """A recipe by name, built-in or of a plugin, or one from a TOML file by its path.

    Args:
        name: the recipe's name, ``distribution:name`` where a plugin's recipe has the name of a built-in one or of
            another plugin's, or the path of a ``.toml`` file.

    Raises:
        UnknownNameError: neither a recipe's name nor a ``.toml`` file.
        BrokenPluginError: the recipe of a plugin cannot be read.
        RecipeError: the file is not valid TOML, or a key or value in it is wrong.
    """
    return read_layers(name)[-1].recipe


@dataclass(frozen=True)
class RecipeLayer:
    """What one recipe says itself, and the recipe that it and all that it extends make together.

    Attributes:
        origin: the recipe's name, or the file's path.
        built_in: whether it comes with this library or with a plugin.
        written: its own settings, nested.
        recipe: the result.
    """

    origin: str
    built_in: bool
    written: Mapping[str, Any]
    recipe: Recipe


def read_layers(name: str | Path) -> list[RecipeLayer]:
    """A recipe and everything that it extends, the last extended first.

    ``extends`` names a recipe, or another file by its path relative to the file that names it.

    Raises:
        UnknownNameError, RecipeError: as `load_recipe`.
    """
    files: list[Path] = []
    chain: list[tuple[str, bool, dict[str, Any]]] = []
    wanted: str | None = str(name)
    while wanted is not None:
        if chain and chain[-1][1] and (wanted.endswith(".toml") or wanted in [source for source, _, _ in chain]):
            wrong = "a file" if wanted.endswith(".toml") else "itself"
            raise RecipeError(
                f"The recipe {chain[-1][0]} extends {wrong}: {quoted(wanted)}; expected another recipe's name."
            )
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
        built_in = built_in_names()
        if wanted in built_in:
            return _parsed((BUILT_IN / f"{wanted}.toml").read_text(encoding="utf-8"), wanted), wanted
        return _parsed(read_installed(wanted, built_in), wanted), wanted
    path = files[-1].parent / wanted if files else Path(wanted)
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        if os.path.realpath(path) in map(os.path.realpath, files):
            raise RecipeError(f"The recipe {path} extends itself: {' extends '.join(map(str, [*files, path]))}.")
    except RecipeError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RecipeError(f"The recipe file {shorten(str(path), LONGEST_NAME)} cannot be read: {reason}.") from error
    files.append(path)
    return _parsed(text, str(path)), str(path)


def parse_settings(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``["optimizer.learning_rate=0.01", "schedule.name=cosine"]`` into dotted keys and values.

    A value is read as TOML; ``none`` is None, and anything that is not TOML is a string. So is ``0x60``, which is a
    size with an edge of 0 rather than a hexadecimal number.

    Raises:
        RecipeError: there is no ``=``, or nothing before it.
    """
    settings = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"A setting is written key=value, for instance epochs=3; got {quoted(assignment)}.")
        text = text.strip()
        settings[key.strip()] = text if re.match("[+-]?0[xob]", text) else value_of(text)
    return settings


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"The recipe {source} is not valid TOML: {error}.") from error
    named = {key: {"name": value} if is_name(key, value) else value for key, value in data.items()}
    return with_none(named, Recipe)


def _merged(base: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``data`` has in its place, table by table."""
    tables = {key for key, value in data.items() if isinstance(value, dict) and isinstance(base.get(key), Mapping)}
    return {**base, **data, **{key: _merged(base[key], data[key]) for key in tables}}
