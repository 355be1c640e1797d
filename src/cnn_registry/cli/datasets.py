"""``cnnreg datasets``."""

from __future__ import annotations

import click

from cnn_registry.registry.catalogue import Listed
from cnn_registry.registry.datasets import listed_datasets

from .common import common_options, json_option, wide_option
from .listing import as_dict, print_unusable
from .output import print_json, tell
from .table import Column, print_table

COLUMNS = (
    Column("name", at_least=20),
    Column("classes", number=True),
    Column("images", number=True),
    Column("size", number=True, rank=1),
    Column("comes", rank=2),
    Column("provided by", rank=4),
    Column("summary", rank=3, at_least=24),
)


@click.command("datasets")
@wide_option
@json_option
@common_options
def command(wide: bool, as_json: bool) -> None:
    """List the datasets for train --dataset."""
    found = listed_datasets()
    if as_json:
        print_json([as_dict(item) for item in found])
        return
    print_table(COLUMNS, [_row(item) for item in found if isinstance(item, Listed)], wide=wide)
    print_unusable(found)
    tell("A folder with one folder of images per class also works: cnnreg train MODEL --data DIR")


def _row(item: Listed) -> list[str]:
    facts = item.facts
    size = facts["image_size"]
    return [
        f"{facts['name']}:{facts['parameter']}" if facts["parameter"] else facts["name"],
        str(facts["num_classes"] or "varies"),
        str(facts["num_images"] or "varies"),
        "x".join(map(str, size)) if isinstance(size, list) else str(size or "varies"),
        "embedded" if facts["embedded"] else "download",
        str(item.provider),
        f"{facts['summary']} (the default)" if facts["is_default"] else facts["summary"],
    ]
