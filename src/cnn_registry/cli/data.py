"""``cnnreg data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cnn_registry.text import counted

from .batches import max_pixels_option
from .common import RunType, column_options, common_options, json_option
from .output import print_json, tell
from .table import Column, print_table

COLUMNS = (Column("finding"), Column("number", number=True), Column("what", at_least=30))


@click.command("data")
@click.argument("source")
@click.option(
    "--data",
    "other",
    metavar="OTHER",
    help="Further images, which should not be among those of SOURCE, such as those of a later test.",
)
@column_options
@click.option(
    "--run",
    type=RunType(),
    metavar="FOLDS",
    help="The directory of a cross-validation on SOURCE, whose predictions show labels that are likely wrong.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with pictures.",
)
@max_pixels_option
@json_option
@common_options
def command(
    source: str,
    other: str | None,
    columns: dict[str, str],
    run: str | Path | None,
    out: Path | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Look at the images of SOURCE before they are trained on: a folder, a table of paths and labels, or a dataset.

    Finds images that cannot be read, that are there twice or look the same (within classes, across classes, and across
    training, validation and test), that have one colour, or that are likely mislabelled.
    """
    from cnn_registry.data.manifest import Manifest
    from cnn_registry.report.data_page import data_page
    from cnn_registry.report.inspection import inspect
    from cnn_registry.report.render import check_page, write_page
    from cnn_registry.system.extras import need

    if out:
        need("A page", "jinja2")
        check_page(out)

    def with_columns(given: str) -> Any:
        return Manifest(given, **columns) if columns else given

    found = inspect(with_columns(source), other=with_columns(other) if other else None, run=run, max_pixels=max_pixels)
    if out:
        write_page(out, data_page(found))
    if as_json:
        print_json(found.to_dict() | {"page": str(out) if out else None})
        return
    if found.findings:
        print_table(COLUMNS, [[item.kind, f"{item.count:,}", item.text] for item in found.findings])
    tell(
        f"{counted(len(found.items), 'image')} of {counted(len(found.class_counts), 'class')}, "
        f"{counted(len(found.findings), 'finding')}"
    )
    if out:
        tell(f"page: {out}", wrap=False)
