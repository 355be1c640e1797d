"""``cnnreg recipes``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cnn_registry.errors import CnnRegistryError
from cnn_registry.text import printable

from .common import common_options, complete_models, complete_recipes, json_option, wide_option
from .output import print_json, tell
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.recipes.schema import Recipe

COLUMNS = (Column("name", at_least=20), Column("plugin", rank=1), Column("summary", at_least=20))
SETTINGS = (Column("setting"), Column("value", at_least=12), Column("from", at_least=12))
"""The columns of ``--for``, and of a training's ``--dry-run``."""


@click.command("recipes")
@click.argument("name", required=False, shell_complete=complete_recipes)
@click.option(
    "--for",
    "model",
    metavar="MODEL",
    shell_complete=complete_models,
    help="Show the recipe as it is for MODEL, and where each value comes from.",
)
@click.option("--toml", "as_toml", is_flag=True, help="With --for, print it as a .toml file.")
@wide_option
@json_option
@common_options
def command(name: str | None, model: str | None, as_toml: bool, wide: bool, as_json: bool) -> None:
    """List the recipes, or print one.

    NAME, a recipe, a .toml file, a run directory or hf://USER/NAME, is printed with all of its settings as a .toml
    file. To train with settings of your own: cnnreg recipes default > mine.toml, change it, and cnnreg train MODEL
    --recipe mine.toml
    """
    if model:
        _print_resolved(name, model, wide=wide, as_toml=as_toml, as_json=as_json)
        return
    if name:
        from cnn_registry.recipes.load import load_recipe
        from cnn_registry.recipes.toml import toml_lines
        from cnn_registry.runs.run import is_run, load_run  # which imports NumPy, and the list does not

        recipe = (load_run(name).record.recipe if is_run(name) else load_recipe(name)).to_dict()
        if as_json:
            print_json([recipe])
        else:
            for line in toml_lines(recipe):
                tell(line, wrap=False)
        return
    listed = list(_listed())
    if as_json:
        print_json(
            [found if isinstance(found, dict) else found.to_dict() | {"name": shown} for shown, _, found in listed]
        )
    else:
        rows = [
            [shown, plugin, found["broken"] if isinstance(found, dict) else found.summary]
            for shown, plugin, found in listed
        ]
        print_table(COLUMNS, rows, wide=wide)
        tell("See every setting: cnnreg recipes NAME. Change one: cnnreg train MODEL --set key.path=value")


def _listed() -> Iterator[tuple[str, str, Recipe | dict[str, str]]]:
    """Each recipe as it is written, with the plugin that it comes from, and itself or why it cannot be used."""
    from cnn_registry.recipes.installed import installed_recipes
    from cnn_registry.recipes.load import built_in_names, load_recipe

    built_in = built_in_names()
    for name in built_in:
        yield name, "", load_recipe(name)
    for name, entries in installed_recipes().items():
        for entry in entries:
            shown = f"{entry.distribution}:{name}" if name in built_in or len(entries) > 1 else name
            plugin = f"{entry.distribution} {entry.version or ''}".strip()
            try:
                yield shown, plugin, load_recipe(shown)
            except CnnRegistryError as error:
                yield shown, plugin, {"name": shown, "broken": f"broken: {error}"}


def _print_resolved(name: str | None, model: str, *, wide: bool, as_toml: bool, as_json: bool) -> None:
    """Print a recipe, by default the model's own, with its adjustments for the model."""
    from cnn_registry.recipes.resolution import NOT_SETTINGS, Layer
    from cnn_registry.recipes.toml import toml_lines
    from cnn_registry.registry.models import get_spec
    from cnn_registry.workflows.plan import chosen_recipe, photo_sizes

    spec = get_spec(model)
    resolved = chosen_recipe(spec, name, {})
    if resolved.recipe.photos:
        sizes = photo_sizes(resolved, spec).model_dump(mode="json")
        if sizes != resolved.recipe.to_dict()["photos"]:
            resolved = resolved.with_layer(Layer(f"photos of {spec.name}", {"photos": sizes}))
    rows, recipe = resolved.rows(), resolved.recipe.to_dict()
    if as_json:
        print_json([{"key": key, "value": value, "from": origin} for key, value, origin in rows])
    elif as_toml:
        for line in toml_lines({key: recipe[key] for key in NOT_SETTINGS if recipe[key] and key != "extends"}):
            tell(line, wrap=False)
        for key, value, origin in rows:
            for line in toml_lines({key: value}, dotted=True):
                tell(f"{line}  # {printable(origin)}", wrap=False)
    else:
        print_table(SETTINGS, [[key, setting_text(value), origin] for key, value, origin in rows], wide=wide)


def setting_text(value: Any) -> str:
    """A setting's value in a table."""
    return "none" if value is None else str(value)
