"""``cnnreg cache``."""

from __future__ import annotations

from typing import Any

import click

from cnn_registry.errors import CnnRegistryError
from cnn_registry.system.cache import CacheEntry, cache_entries, remove_entry
from cnn_registry.system.paths import cache_root

from .common import common_options, json_option, wide_option
from .output import print_json, tell
from .prune import confirmed, matching, megabytes, prune_options
from .table import Column, print_table

COLUMNS = (
    Column("entry", at_least=40),
    Column("what", rank=2, at_least=12),
    Column("size", number=True),
    Column("last use", rank=1),
)

WHAT = {
    "dataset": "a downloaded dataset",
    "decoded": "decoded images of one dataset at one size",
    "weights": "downloaded weights",
}


@click.command("cache")
@prune_options
@wide_option
@json_option
@common_options
def command(prune: tuple[str, ...], yes: bool, wide: bool, as_json: bool) -> None:
    """List what is in the cache, or remove some.

    The longest unused comes first. Removing is safe: everything is downloaded or decoded again when it is needed.
    """
    found = cache_entries()
    if prune:
        found = list(matching({entry.name: entry for entry in found}, prune, "entry").values())
    if as_json and not prune:
        print_json([_as_dict(entry) for entry in found])
        return
    if found and not as_json:
        rows = [
            [entry.name, WHAT[entry.kind], megabytes(entry.bytes), f"{entry.used:%Y-%m-%d %H:%M}"] for entry in found
        ]
        print_table(COLUMNS, rows, wide=wide)
    if not prune:
        tell(f"{len(found)} in {cache_root()}, {megabytes(sum(entry.bytes for entry in found))}")
    elif confirmed(found, "entry", yes):
        for entry in found:
            _remove(entry)
        if as_json:
            print_json([_as_dict(entry) for entry in found])
        else:
            tell(f"Removed {megabytes(sum(entry.bytes for entry in found))}.")


def _remove(entry: CacheEntry) -> None:
    try:
        remove_entry(entry)
    except OSError as error:
        raise CnnRegistryError(f"{entry.path} cannot be removed: {error.strerror or error}.") from error


def _as_dict(entry: CacheEntry) -> dict[str, Any]:
    return {
        "entry": entry.name,
        "path": str(entry.path),
        "what": WHAT[entry.kind],
        "bytes": entry.bytes,
        "used": entry.used.isoformat(),
    }
