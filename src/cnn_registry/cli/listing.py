"""What `list`, `info` and `datasets` say of an entry that can be used, and of one that cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from cnn_registry.catalogue import Ambiguous
from cnn_registry.discovery import Broken
from cnn_registry.spec import Spec

from .common import is_verbose


def as_dict(item: Spec | Broken | Ambiguous) -> dict[str, Any]:
    """One entry as JSON-ready data, with its status: ok, deprecated, broken or ambiguous."""
    if isinstance(item, Broken):
        entry = item.entry
        return {"name": entry.name, "status": "broken", "distribution": entry.distribution, "reason": item.reason}
    if isinstance(item, Ambiguous):
        return {"name": item.name, "status": "ambiguous", "providers": list(item.providers)}
    return {"status": "deprecated" if item.deprecated else "ok"} | item.to_dict()


def print_unusable(items: Iterable[Spec | Broken | Ambiguous]) -> None:
    """A line for each broken or ambiguous entry; with ``-v`` also the traceback."""
    for item in items:
        if isinstance(item, Broken):
            click.echo(f"broken: {item.entry.name} ({item.entry.distribution}): {item.reason}")
            if is_verbose():
                click.echo(item.details, err=True)
        elif isinstance(item, Ambiguous):
            choices = " or ".join(f"{provider}:{item.name}" for provider in item.providers)
            click.echo(f"ambiguous: {item.name}: write {choices}")
