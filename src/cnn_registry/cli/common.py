"""What several commands share: options, and completion in the shell."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from cnn_registry.registry.current import use_policy
from cnn_registry.registry.policy import NO_PLUGINS

F = TypeVar("F", bound=Callable[..., Any])


class ImageSizeType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on only
    """An edge length in pixels, or height and width, as in ``96x160``."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, int] | None:
        """The edge length, or height and width."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # converted already
        edges = [int(edge) for edge in re.split("[x\u00d7]", value) if edge.isascii() and edge.isdecimal()]
        if len(edges) not in (1, 2) or len(re.split("[x\u00d7]", value)) != len(edges) or min(edges) < 1:
            self.fail(f"expected pixels, as in 96 or 96x160 (height x width); got {value!r}.", param, ctx)
        return edges[0] if len(edges) == 1 else (edges[0], edges[1])


class RunType(click.Path):
    """A run directory, or a repository ``hf://user/name``, which is kept as text: a path would lose a slash."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        """The address, or the path."""
        from cnn_registry.system.hub import hub_address

        return str(value) if hub_address(str(value)) else Path(os.fsdecode(super().convert(value, param, ctx)))


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
runtime_option = click.option(
    "--runtime",
    type=click.Choice(["keras", "onnx"]),
    default="keras",
    show_default=True,
    help="What computes: Keras; or ONNX Runtime, faster for one image at a time, to which the network is converted.",
)
tta_option = click.option("--tta", is_flag=True, help="Average the predictions for each image and its mirror image.")


DATA = (
    "A folder with one folder of images per class, packed images, or a table (.csv, .tsv, .parquet) of paths and "
    "labels; with --dataset, that dataset's archive or folder."
)
"""What ``--data`` is for a training."""

COLUMNS = {
    "path-column": "Column of image files, relative to the table's folder (default: path).",
    "label-column": "Column of classes (default: label).",
    "labels-column": "Column of all classes that an image shows (default: labels, if there is no label).",
    "label-separator": "What separates them (default: the first of | ; , that occurs).",
    "class-columns": "Columns of 0 and 1 named after classes, separated by commas.",
    "split-column": "Column of the parts train, val and test; '' ignores it (default: split).",
    "group-column": "Column of what must not be divided between parts; '' ignores it (default: group).",
    "weight-column": "Column of factors of the images' losses in training; '' ignores it (default: weight).",
}
"""Options for a table, and their help."""


def data_options(help: str) -> Callable[[F], F]:
    """``--data``, and the options that name the columns of a table; the command gets all of them as ``data``.

    Args:
        help: of ``--data``.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def command(*args: Any, data: Path | None, columns: dict[str, str], **options: Any) -> Any:
            return function(*args, data=_with_columns(data, columns), **options)

        decorated: Any = column_options(command)
        decorated = click.option("--data", type=click.Path(path_type=Path), help=help)(decorated)
        return cast("F", decorated)

    return decorate


def column_options(function: F) -> F:
    """The options that name the columns of a table; the command gets those that were given as ``columns``."""

    @wraps(function)
    def command(*args: Any, **options: Any) -> Any:
        named = {name: options.pop(name) for name in (option.replace("-", "_") for option in COLUMNS)}
        return function(*args, columns={name: value for name, value in named.items() if value is not None}, **options)

    decorated: Any = command
    for name, text in reversed(COLUMNS.items()):
        decorated = click.option(f"--{name}", metavar="NAME", help=f"With a table: {text}")(decorated)
    return cast("F", decorated)


def _with_columns(data: Path | None, columns: dict[str, str]) -> Any:
    if not columns:
        return data
    if data is None:
        option = min(columns).replace("_", "-")
        raise click.UsageError(f"--{option} is for a table; name the table with --data.")
    from cnn_registry.data.manifest import Manifest

    return Manifest(data, **columns)


def data_arguments(data: Any) -> list[str]:
    """The arguments that `data_options` makes ``data`` of."""
    if data is None:
        return []
    columns = getattr(data, "columns", {})
    named = [word for name, value in columns.items() for word in (f"--{name.replace('_', '-')}", value)]
    return ["--data", str(data), *named]


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


def training_options(*, model_required: bool = True, split: bool = True) -> Callable[[F], F]:
    """MODEL, and the options that say what is trained: data, recipe, settings and split.

    Args:
        model_required: whether MODEL must be given.
        split: whether there is ``--split``.
    """
    options: list[Callable[[Any], Any]] = [
        click.argument("model", required=model_required, shell_complete=complete_models),
        click.option("--dataset", shell_complete=complete_datasets, help="A dataset's name; see: cnnreg datasets."),
        data_options(DATA),
        click.option(
            "--recipe",
            shell_complete=complete_recipes,
            help="A recipe's name, a .toml file or a run; see: cnnreg recipes.",
        ),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Replace a setting of the recipe."
        ),
    ]
    if split:
        options.append(
            click.option(
                "--split", help="'stratified', 'tuning', a fold such as 'fold-2-of-5', or a split of the dataset."
            )
        )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
