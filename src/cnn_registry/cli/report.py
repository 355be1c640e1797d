"""``cnnreg report``."""

from __future__ import annotations

from pathlib import Path

import click

from .common import RunType, common_options, json_option
from .output import print_json, tell


@click.command("report")
@click.argument("run", type=RunType())
@click.option("--data", type=click.Path(path_type=Path), help="Where the run's images are, if they were moved.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The HTML file to write (default: report.html in the run directory).",
)
@json_option
@common_options
def command(run: str | Path, data: Path | None, out: Path | None, as_json: bool) -> None:
    """Write a report of RUN: one HTML file with results, mistakes and their Grad-CAM.

    RUN is a run directory or hf://USER/NAME. Training writes the report at its end; this command makes it again, for
    example for a run of an earlier version. A run that has no report.json gets it, and the plots.
    """
    from cnn_registry.report.write import remake_page
    from cnn_registry.runs.run import load_run

    path = remake_page(load_run(run), data=data, out=out)
    if as_json:
        print_json({"run": str(run), "report": str(path)})
    else:
        tell(f"report: {path}", wrap=False)
