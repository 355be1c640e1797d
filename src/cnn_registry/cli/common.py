"""What several commands share: options, completion, and how facts are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cnn_registry.registry.policy import NO_PLUGINS, use_policy
from cnn_registry.text import printable

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
        help="Use nothing that installed plugins provide.",
    )
    return verbose(no_plugins(function))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
weights_option = click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Of the epoch with the lowest validation loss, or of the last one.",
)
tta_option = click.option("--tta", is_flag=True, help="Average over each picture and its mirror image.")


def complete_models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of models for the shell."""
    from cnn_registry.registry.models import list_models

    return list_models(f"{incomplete}*")


def complete_datasets(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of data sets for the shell."""
    from cnn_registry.registry.datasets import datasets

    return datasets.names(f"{incomplete}*")


def complete_recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of recipes for the shell."""
    from cnn_registry.recipes.load import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def tell(text: str, *, err: bool = False) -> None:
    """Print one line; what a terminal would obey in a name is escaped."""
    click.echo(printable(text), err=err)


def print_json(data: Any) -> None:
    """Print ``data`` as JSON on standard output."""
    print(json.dumps(data, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print a table: drawn on a terminal, aligned plain text elsewhere.

    Args:
        columns: headings.
        rows: cells, as many as columns.
        right: headings of the columns whose cells are aligned to the right.
    """
    if sys.stdout.isatty():
        _print_rich_table(columns, rows, right)
        return
    lines = [list(columns), *[[printable(" ".join(cell.split())) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        )
        print("  ".join(cells).rstrip())


def _print_rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(
            column,
            justify="right" if column in right else "left",
            style="bold" if i == 0 else "",
            overflow="fold",
            no_wrap=i == 0,
        )
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # Text: a name in square brackets is no markup
    Console().print(table)
