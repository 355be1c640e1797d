"""``cnnreg runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import common_options, json_option, wide_option
from .prune import Listing, list_or_prune, megabytes, prune_options
from .table import Column

if TYPE_CHECKING:
    from cnn_registry.runs.directory import RunEntry

COLUMNS = (
    Column("run", at_least=44),
    Column("model", rank=3, at_least=12),
    Column("data", rank=5, at_least=12),
    Column("accuracy", number=True, rank=1),
    Column("began", rank=6),
    Column("size", number=True, rank=4),
    Column("status", rank=2),
)


@click.command("runs")
@click.argument("directory", type=click.Path(path_type=Path), default=Path("runs"))
@prune_options
@wide_option
@json_option
@common_options
def command(directory: Path, prune: tuple[str, ...], yes: bool, wide: bool, as_json: bool) -> None:
    """List the runs in a directory, or remove some.

    The default DIRECTORY is runs. The accuracy is that on the validation images after the best epoch. The folds of a
    cross-validation are one line.
    """
    from cnn_registry.runs.directory import remove, run_entries

    items = {entry.path.name: entry for entry in run_entries(directory)}
    listing = Listing(items, "run", directory, COLUMNS, _row, _facts, remove)
    list_or_prune(listing, prune, yes=yes, wide=wide, as_json=as_json)


def _row(entry: RunEntry) -> list[str]:
    facts = _facts(entry)
    return [
        entry.path.name,
        facts["model"],
        facts["data"],
        "" if entry.accuracy is None else f"{entry.accuracy:.1%}",
        f"{entry.created:%Y-%m-%d %H:%M}" if entry.created else "",
        megabytes(entry.bytes),
        entry.status,
    ]


def _facts(entry: RunEntry) -> dict[str, Any]:
    first = entry.runs[0].record if entry.runs else None
    return {
        "run": str(entry.path),
        "model": first.model.spec["name"] if first else "",
        "data": first.data.name if first else "",
        "accuracy": entry.accuracy,
        "created": entry.created.isoformat() if entry.created else None,
        "bytes": entry.bytes,
        "status": entry.status,
    }
