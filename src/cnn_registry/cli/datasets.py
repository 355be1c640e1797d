"""``cnnreg datasets``."""

from __future__ import annotations

from typing import Any

import click

from cnn_registry.catalogue import Ambiguous
from cnn_registry.data.registry import datasets
from cnn_registry.discovery import Broken
from cnn_registry.spec import DatasetSpec

from .common import common_options, json_option, print_json, print_table


@click.command("datasets")
@json_option
@common_options
def command(as_json: bool) -> None:
    """List the data sets that can be named with --dataset."""
    found = datasets.describe()
    if as_json:
        print_json([_as_dict(item) for item in found])
        return
    columns = ["name", "classes", "images", "size", "comes", "provided by", "summary"]
    specs = [item for item in found if isinstance(item, DatasetSpec)]
    print_table(columns, [_row(spec) for spec in specs], right=["classes", "images", "size"])
    for item in found:
        if isinstance(item, Broken):
            click.echo(f"broken: {item.entry.name} ({item.entry.distribution}): {item.reason}")
        elif isinstance(item, Ambiguous):
            click.echo(f"ambiguous: {item.name}: provided by {' and '.join(item.providers)}")
    click.echo("Any folder of class folders works too: cnnreg train MODEL --data DIR")


def _as_dict(item: DatasetSpec | Broken | Ambiguous) -> dict[str, Any]:
    if isinstance(item, Broken):
        entry = item.entry
        return {"name": entry.name, "status": "broken", "distribution": entry.distribution, "reason": item.reason}
    if isinstance(item, Ambiguous):
        return {"name": item.name, "status": "ambiguous", "providers": list(item.providers)}
    return {"status": "ok"} | item.to_dict()


def _row(spec: DatasetSpec) -> list[str]:
    return [
        spec.name,
        str(spec.num_classes),
        str(spec.num_images),
        str(spec.image_size or "varies"),
        "embedded" if spec.embedded else "download",
        str(spec.provider),
        f"{spec.summary} (the default)" if spec.is_default else spec.summary,
    ]
