"""``cnnreg recipes``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from .common import common_options, complete_recipes, json_option, wide_option
from .output import print_json, tell
from .table import Column, print_table

COLUMNS = (Column("name", at_least=20), Column("summary", at_least=20))


@click.command("recipes")
@click.argument("name", required=False, shell_complete=complete_recipes)
@wide_option
@json_option
@common_options
def command(name: str | None, wide: bool, as_json: bool) -> None:
    """List the recipes, or print one.

    NAME, a recipe or a .toml file, is printed with all of its settings as a .toml file. To train with settings of your
    own: cnnreg recipes default > mine.toml, change it, and cnnreg train MODEL --recipe mine.toml
    """
    from cnn_registry.recipes.load import load_recipe, recipe_names

    recipes = [load_recipe(name)] if name else [load_recipe(known) for known in recipe_names()]
    if as_json:
        print_json([recipe.to_dict() for recipe in recipes])
    elif name:
        for line in _toml(recipes[0].to_dict()):
            tell(line, wrap=False)
    else:
        print_table(COLUMNS, [[recipe.name, recipe.summary] for recipe in recipes], wide=wide)
        tell("See every setting: cnnreg recipes NAME. Change one: cnnreg train MODEL --set key.path=value")


def _toml(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Settings as lines of TOML, with the dotted keys that ``--set`` takes; TOML has no value for ``none``."""
    for name, value in settings.items():
        key = prefix + (name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name))
        if value is None:
            yield f"# {key} = none"
        elif isinstance(value, Mapping) and value:
            yield from _toml(value, f"{key}.")
        else:
            yield f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    """A value in TOML, whose strings, numbers and lists are JSON's."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value(name)} = {_value(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
