"""What several commands share: options, and completion in the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cnn_registry.registry.current import use_policy
from cnn_registry.registry.policy import NO_PLUGINS

F = TypeVar("F", bound=Callable[..., Any])

_shown: dict[str, bool] = {"tracebacks": False}


def is_verbose() -> bool:
    """Whether ``-v`` was given, before or after the command."""
    return _shown["tracebacks"]


def _set_verbose(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        _shown["tracebacks"] = True


def _set_no_plugins(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        use_policy(NO_PLUGINS)


def common_options(function: F) -> F:
    """``-v`` and ``--no-plugins``, which work before and after the command's name."""
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_set_verbose, help="Show tracebacks of errors."
    )
    no_plugins = click.option(
        "--no-plugins",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_no_plugins,
        help="Ignore all installed plugins.",
    )
    return verbose(no_plugins(function))


wide_option = click.option("--wide", is_flag=True, help="Print whole tables, however narrow the terminal is.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

weights_option = click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Weights to use: best epoch, by validation loss unless the recipe says otherwise, or last epoch.",
)
force_option = click.option("--force", is_flag=True, help="Use the run although its network has changed.")
tta_option = click.option("--tta", is_flag=True, help="Average the predictions for each image and its mirror image.")


def complete_models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of models for the shell."""
    from cnn_registry.registry.models import list_models

    return list_models(f"{incomplete}*")


def complete_datasets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of datasets for the shell."""
    from cnn_registry.registry.datasets import list_datasets

    return list_datasets(f"{incomplete}*")


def complete_recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of recipes for the shell."""
    from cnn_registry.recipes.load import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def training_options(function: F) -> F:
    """MODEL, and the options that say what is trained: data, recipe, settings and split."""
    options = (
        click.argument("model", shell_complete=complete_models),
        click.option("--dataset", shell_complete=complete_datasets, help="A dataset's name; see: cnnreg datasets."),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="A folder with one folder of images per class; with --dataset, that dataset's archive or folder.",
        ),
        click.option(
            "--recipe",
            shell_complete=complete_recipes,
            help="A recipe's name, a .toml file or a run; see: cnnreg recipes.",
        ),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Replace a setting of the recipe."
        ),
        click.option("--split", help="'stratified', 'tuning', or a split that the dataset provides."),
    )
    for option in reversed(options):
        function = option(function)
    return function
