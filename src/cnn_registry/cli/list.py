"""``cnnreg list``."""

from __future__ import annotations

import click

from cnn_registry.registry.models import describe_models, list_models
from cnn_registry.registry.spec import ModelSpec

from .common import common_options, complete_models, json_option, print_json, print_table
from .listing import as_dict, print_unusable


@click.command("list")
@click.argument("pattern", required=False, shell_complete=complete_models)
@click.option("--names", is_flag=True, help="Print names alone, one a line; no plugin is imported for it.")
@json_option
@common_options
def command(pattern: str | None, names: bool, as_json: bool) -> None:
    """List the installed models, or those whose name matches PATTERN ('vgg*')."""
    if names:
        _print_names(list_models(pattern), as_json)
        return
    found = describe_models(pattern)
    if as_json:
        print_json([as_dict(item) for item in found])
        return
    specs = [item for item in found if isinstance(item, ModelSpec)]
    if specs:
        columns = ["name", "family", "year", "parameters", "MACs", "input", "plugin", "summary"]
        print_table(columns, [_row(spec) for spec in specs], right=["year", "parameters", "MACs"])
    elif not found:
        click.echo(f"No model matches {pattern!r}." if pattern else "No model is installed: pip install cnnreg-alexnet")
    print_unusable(found)


def _print_names(names: list[str], as_json: bool) -> None:
    if as_json:
        print_json(names)
    elif names:
        click.echo("\n".join(names))


def _row(spec: ModelSpec) -> list[str]:
    height, width, channels = spec.input_shape
    summary = f"(deprecated, use {spec.deprecated}) {spec.summary}" if spec.deprecated else spec.summary
    return [
        spec.name,
        spec.family,
        str(spec.paper.year) if spec.paper else "",
        f"{spec.total_params / 1e6:.1f} M",
        f"{spec.macs / 1e9:.2f} G" if spec.macs else "",
        f"{height}x{width}x{channels}",
        str(spec.provider),
        summary,
    ]
