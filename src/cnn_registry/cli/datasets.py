"""``cnnreg datasets``."""

from __future__ import annotations

import click

from cnn_registry.registry.datasets import datasets
from cnn_registry.registry.spec import DatasetSpec

from .common import common_options, json_option, print_json, print_table
from .listing import as_dict, print_unusable


@click.command("datasets")
@json_option
@common_options
def command(as_json: bool) -> None:
    """List the data sets that can be named with --dataset."""
    found = datasets.describe()
    if as_json:
        print_json([as_dict(item) for item in found])
        return
    columns = ["name", "classes", "images", "size", "comes", "provided by", "summary"]
    specs = [item for item in found if isinstance(item, DatasetSpec)]
    print_table(columns, [_row(spec) for spec in specs], right=["classes", "images", "size"])
    print_unusable(found)
    click.echo("Any folder of class folders works too: cnnreg train MODEL --data DIR")


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
