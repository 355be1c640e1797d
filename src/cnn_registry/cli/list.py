"""``cnnreg list``."""

from __future__ import annotations

import click

from cnn_registry.registry.catalogue import Listed
from cnn_registry.registry.models import list_models, listed_models
from cnn_registry.text import printable, suggestion

from .common import common_options, complete_models, json_option, wide_option
from .listing import as_dict, print_unusable
from .output import print_json, tell
from .table import Column, print_table

COLUMNS = (
    Column("name", at_least=24),
    Column("family", rank=5, at_least=8),
    Column("year", number=True, rank=2),
    Column("parameters", number=True, rank=1),
    Column("MACs", number=True, rank=4),
    Column("input", rank=3),
    Column("plugin", rank=7),
    Column("summary", rank=6, at_least=24),
)


@click.command("list")
@click.argument("pattern", required=False, shell_complete=complete_models)
@click.option("--names", is_flag=True, help="Print only names, one per line, without importing plugins.")
@wide_option
@json_option
@common_options
def command(pattern: str | None, names: bool, wide: bool, as_json: bool) -> None:
    """List the installed models.

    PATTERN selects those whose names match it ('vgg*') or contain it ('vgg').
    """
    pattern = _widened(pattern)
    if names:
        _print_names(list_models(pattern), as_json)
        return
    found = listed_models(pattern)
    if as_json:
        print_json([as_dict(item) for item in found])
        return
    rows = [_row(item) for item in found if isinstance(item, Listed)]
    if rows:
        print_table(COLUMNS, rows, wide=wide)
    elif not found:
        tell(_nothing(pattern))
    print_unusable(found)


def _widened(pattern: str | None) -> str | None:
    """``*vgg*`` for ``vgg``, unless that is a model's name or has a wildcard."""
    if not pattern or set(pattern) & set("*?[") or list_models(pattern):
        return pattern
    return f"*{pattern}*" if list_models(f"*{pattern}*") else pattern


def _nothing(pattern: str | None) -> str:
    if pattern:
        return f"No model matches {pattern!r}.{suggestion(pattern, list_models())}"
    return "No model is installed: pip install cnnreg-alexnet"


def _print_names(names: list[str], as_json: bool) -> None:
    if as_json:
        print_json(names)
    elif names:
        click.echo("\n".join(map(printable, names)))


def _row(item: Listed) -> list[str]:
    facts = item.facts
    deprecated, macs = facts["deprecated"], facts["macs"]
    return [
        facts["name"],
        facts["family"],
        str(facts["paper"]["year"]) if facts["paper"] else "",
        _amount(facts["total_params"]),
        f"{macs / 1e9:.2f} G" if macs >= 10**7 else _amount(macs) if macs else "",
        "x".join(map(str, facts["input_shape"])),
        str(item.provider),
        f"(deprecated, use {deprecated}) {facts['summary']}" if deprecated else facts["summary"],
    ]


def _amount(number: int) -> str:
    """``61.7 k`` or ``138.4 M``."""
    return f"{number / 1e6:.1f} M" if number >= 10**6 else f"{number / 1e3:.1f} k"
