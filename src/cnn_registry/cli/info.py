"""``cnnreg info``."""

from __future__ import annotations

import click

from cnn_registry.catalogue import Ambiguous
from cnn_registry.discovery import Broken
from cnn_registry.errors import AmbiguousNameError
from cnn_registry.registry import models
from cnn_registry.spec import ModelSpec

from .common import common_options, complete_models, json_option, print_json
from .listing import as_dict


@click.command("info")
@click.argument("name", shell_complete=complete_models)
@json_option
@common_options
def command(name: str, as_json: bool) -> None:
    """Show what is known of the model NAME; of a broken one, the traceback."""
    found = models.find(name)
    if isinstance(found, Ambiguous):
        raise AmbiguousNameError(models.noun, found.name, found.providers)
    if as_json:
        details = {"traceback": found.details} if isinstance(found, Broken) else {}
        print_json(as_dict(found) | details)
    elif isinstance(found, ModelSpec):
        _print_facts(found)
    else:
        click.echo(f"{found.details}{found.entry.name} of {found.entry.distribution} is broken: {found.reason}")
    if isinstance(found, Broken):
        click.get_current_context().exit(1)


def _print_facts(spec: ModelSpec) -> None:
    height, width, channels = spec.input_shape
    facts = {
        "name": spec.name,
        "family": spec.family,
        "summary": spec.summary,
        "paper": f"{spec.paper.title} ({spec.paper.authors}, {spec.paper.year}) {spec.paper.url}" if spec.paper else "",
        "input": f"{height}x{width}x{channels}, at least {spec.min_size}x{spec.min_size}",
        "parameters": f"{spec.trainable_params:,} trainable, {spec.total_params:,} in all, at 1000 classes",
        "options": ", ".join(f"{name}={default!r}" for name, default in spec.options.items()),
        "recipe": spec.default_recipe,
        "aliases": ", ".join(spec.aliases),
        "deprecated": f"use {spec.deprecated}" if spec.deprecated else "",
        "provided by": f"{spec.provider} ({spec.provider.object})",
    }
    for recipe, settings in spec.recipe_settings.items():
        facts[f"in recipe {recipe}"] = ", ".join(f"{key}={value}" for key, value in settings.items())
    width_of_keys = max(len(key) for key in facts)
    for key, value in facts.items():
        if value:
            click.echo(f"{key.ljust(width_of_keys)}  {value}")
