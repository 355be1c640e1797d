"""``cnnreg pack``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from .batches import max_pixels_option
from .common import column_options, common_options, json_option
from .output import print_json, tell
from .prune import megabytes


@click.command("pack")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--max-edge",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="PIXELS",
    help="Shrink images of which an edge is longer.",
)
@click.option(
    "--shards", type=click.IntRange(min=1), metavar="N", help="Number of files.  [default: 1 per 5,000 images]"
)
@click.option(
    "--on-bad-image",
    type=click.Choice(["skip", "error"]),
    default="skip",
    show_default=True,
    help="Leave unreadable images out and record why, or stop.",
)
@column_options
@max_pixels_option
@json_option
@common_options
def command(
    source: Path,
    out: Path,
    max_edge: int,
    shards: int | None,
    on_bad_image: Literal["skip", "error"],
    columns: dict[str, str],
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Pack the images of SOURCE, a folder or a table, into a few large files in the new folder OUT.

    OUT is then what --data takes. JPEG and PNG files stay as they are unless they are larger than --max-edge. A packing
    that was stopped is resumed by the same command.
    """
    from cnn_registry.data.manifest import Manifest
    from cnn_registry.data.packing import pack

    table = Manifest(source, **columns) if columns else source
    done = pack(table, out, max_edge=max_edge, shards=shards, on_bad_image=on_bad_image, max_pixels=max_pixels)
    if as_json:
        print_json(asdict(done) | {"path": str(done.path)})
        return
    kept = done.images - done.encoded
    tell(
        f"packed: {done.path} ({done.images:,} images, {megabytes(done.bytes)}; {kept:,} of them unchanged)", wrap=False
    )
