"""``cnnreg datasets``."""

from __future__ import annotations

import click

from cnn_registry.registry.datasets import describe_datasets
from cnn_registry.registry.spec import DatasetSpec

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
    found = describe_datasets()
    if as_json:
        print_json([as_dict(item) for item in found])
        return
    specs = [item for item in found if isinstance(item, DatasetSpec)]
    print_table(COLUMNS, [_row(spec) for spec in specs], wide=wide)
    print_unusable(found)
    tell("A folder with one folder of images per class also works: cnnreg train MODEL --data DIR")


def _row(spec: DatasetSpec) -> list[str]:
    return [
        f"{spec.name}:{spec.parameter}" if spec.parameter else spec.name,
        str(spec.num_classes or "varies"),
        str(spec.num_images or "varies"),
        "x".join(map(str, spec.image_size)) if isinstance(spec.image_size, tuple) else str(spec.image_size or "varies"),
        "embedded" if spec.embedded else "download",
        str(spec.provider),
        f"{spec.summary} (the default)" if spec.is_default else spec.summary,
    ]
