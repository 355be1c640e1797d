"""``cnnreg recipes``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from .common import common_options, complete_recipes, json_option, print_json, print_table, tell


@click.command("recipes")
@click.argument("name", required=False, shell_complete=complete_recipes)
@json_option
@common_options
def command(name: str | None, as_json: bool) -> None:
    """List the recipes, or show every setting of the recipe NAME (or a .toml file)."""
    from cnn_registry.recipes.load import load_recipe, recipe_names

    recipes = [load_recipe(name)] if name else [load_recipe(known) for known in recipe_names()]
    if as_json:
        print_json([recipe.to_dict() for recipe in recipes])
    elif name:
        for key, value in _dotted(recipes[0].to_dict()):
            tell(f"{key} = {'none' if value is None else value}")
    else:
        print_table(["name", "summary"], [[recipe.name, recipe.summary] for recipe in recipes])
        click.echo("See every setting: cnnreg recipes NAME. Change one: cnnreg train MODEL --set key.path=value")


def _dotted(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings as the dotted keys that ``--set`` takes."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
