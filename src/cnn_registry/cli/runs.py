"""``cnnreg runs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import common_options, json_option, wide_option
from .output import print_json, tell
from .prune import confirmed, matching, megabytes, prune_options
from .table import Column, print_table

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

    found = run_entries(directory)
    if prune:
        found = list(matching({entry.path.name: entry for entry in found}, prune, "run").values())
    if as_json and not prune:
        print_json([_as_dict(entry) for entry in found])
        return
    if not found:
        tell(f"There are no runs in {directory}.")
        return
    if not as_json:
        print_table(COLUMNS, [_row(entry) for entry in found], wide=wide)
    if not prune:
        tell(f"{len(found)} in {directory}, {megabytes(sum(entry.bytes for entry in found))}")
    elif confirmed(found, "run", yes):
        for entry in found:
            remove(entry)
        if as_json:
            print_json([_as_dict(entry) for entry in found])
        else:
            tell(f"Removed {megabytes(sum(entry.bytes for entry in found))}.")


def _row(entry: RunEntry) -> list[str]:
    facts = _as_dict(entry)
    return [
        entry.path.name,
        facts["model"],
        facts["data"],
        "" if entry.accuracy is None else f"{entry.accuracy:.1%}",
        f"{entry.created:%Y-%m-%d %H:%M}" if entry.created else "",
        megabytes(entry.bytes),
        entry.status,
    ]


def _as_dict(entry: RunEntry) -> dict[str, Any]:
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
