"""``cnnreg export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cnn_registry.export.formats import FORMATS, FormatName, WeightPrecision

from .batches import max_pixels_option
from .common import RunType, common_options, data_options, force_option, json_option, weights_option, wide_option
from .output import print_json, tell
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.data.manifest import Manifest


@click.command("export")
@click.argument("run", type=RunType())
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), required=True, help="The format of the file.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    default="float32",
    show_default=True,
    help="Type of the weights; int8 is calibrated with training images.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder to write, which must not hold anything else (default: RUN/export-FORMAT-PRECISION).",
)
@data_options("Images for the check, as for train (default: the run's).")
@max_pixels_option
@weights_option
@force_option
@wide_option
@json_option
@common_options
def command(
    run: str | Path,
    format_: FormatName,
    precision: WeightPrecision,
    out: Path | None,
    data: Path | Manifest | None,
    max_pixels: int | None,
    weights: Literal["best", "last"],
    force: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Write the model of RUN for other software, and check that it predicts the same.

    RUN is a run directory or hf://USER/NAME.
    """
    from cnn_registry.export.workflow import TITLES, export_run, remark, rows_of
    from cnn_registry.runs.run import load_run

    made = export_run(
        load_run(run),
        format_,
        out,
        precision=precision,
        weights=weights,
        data=data,
        max_pixels=max_pixels,
        force=force,
    )
    if as_json:
        print_json(json.loads((made.path / "export.json").read_text(encoding="utf-8")) | {"path": str(made.path)})
        return
    columns = [Column(TITLES[0]), *(Column(title, number=True) for title in TITLES[1:])]
    print_table(columns, rows_of(made), wide=wide)
    tell(remark(made))
    tell(f"Exported to {made.path}", wrap=False)
