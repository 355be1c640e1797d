"""``cnnreg cache``."""

from __future__ import annotations

from typing import Any

import click

from cnn_registry.errors import CnnRegistryError
from cnn_registry.system.cache import LIMIT, CacheEntry, cache_entries, cache_limit, remove_entry
from cnn_registry.system.paths import cache_root

from .common import common_options, json_option, wide_option
from .output import tell
from .prune import Listing, list_or_prune, megabytes, prune_options
from .table import Column

COLUMNS = (
    Column("entry", at_least=40),
    Column("what", rank=2, at_least=12),
    Column("size", number=True),
    Column("last use", rank=1),
)

WHAT = {
    "dataset": "a downloaded dataset",
    "decoded": "decoded images of one dataset at one size",
    "hashes": "digests of the files of one dataset",
    "weights": "downloaded weights",
    "hub": "runs and weights of one repository of a hub",
    "plugins": "what the plugins of one environment declare",
}


@click.command("cache")
@prune_options
@wide_option
@json_option
@common_options
def command(prune: tuple[str, ...], yes: bool, wide: bool, as_json: bool) -> None:
    """List what is in the cache, or remove some.

    The longest unused comes first. Removing is safe: everything is downloaded or decoded again when it is needed.
    CNNREG_CACHE_GB limits the size of the cache.
    """
    items = {entry.name: entry for entry in cache_entries()}
    listing = Listing(items, "entry", cache_root(), COLUMNS, _row, _facts, _remove)
    list_or_prune(listing, prune, yes=yes, wide=wide, as_json=as_json)
    if (limit := cache_limit()) is not None and not prune and not as_json:
        tell(f"At most {limit / 1e9:g} GB ({LIMIT}); then decoded images make room, the longest unused first.")


def _row(entry: CacheEntry) -> list[str]:
    return [entry.name, WHAT[entry.kind], megabytes(entry.bytes), f"{entry.used:%Y-%m-%d %H:%M}"]


def _remove(entry: CacheEntry) -> None:
    try:
        remove_entry(entry)
    except OSError as error:
        raise CnnRegistryError(f"{entry.path} cannot be removed: {error.strerror or error}.") from error


def _facts(entry: CacheEntry) -> dict[str, Any]:
    return {
        "entry": entry.name,
        "path": str(entry.path),
        "what": WHAT[entry.kind],
        "bytes": entry.bytes,
        "used": entry.used.isoformat(),
    }
