"""``cnnreg evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cnn_registry.text import counted

from .batches import max_pixels_option
from .common import (
    RunType,
    common_options,
    complete_datasets,
    data_options,
    force_option,
    json_option,
    tta_option,
    weights_option,
    wide_option,
)
from .output import print_json, tell
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.data.manifest import Manifest

MEASURES = ("precision", "recall", "f1")
SEVERAL = ("average_precision", "threshold")
"""What is measured besides where an image may show several classes."""


def class_columns(measures: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a table of classes."""
    figures = (Column(measure.replace("_", " "), number=True) for measure in measures)
    return (Column("class", at_least=12), *figures, Column("images", number=True))


COLUMNS = class_columns(MEASURES)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


@click.command("evaluate")
@click.argument("run", type=RunType())
@click.option("--dataset", shell_complete=complete_datasets, help="A dataset's name (default: the run's own data).")
@data_options("Other images, as for train.")
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Part to evaluate (default: val for the run's own images, all for other data).",
)
@weights_option
@tta_option
@max_pixels_option
@force_option
@wide_option
@json_option
@common_options
def command(
    run: str | Path,
    dataset: str | None,
    data: str | Path | Manifest | None,
    part: Literal["train", "val", "test", "all"] | None,
    weights: Literal["best", "last"],
    tta: bool,
    max_pixels: int | None,
    force: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Measure how accurate a trained model is.

    RUN is a run directory or hf://USER/NAME. By default, its model is measured on the validation images of its
    training. The directory of a cross-validation stands for the mean of its models.
    """
    from cnn_registry.inference.evaluate import evaluate

    evaluation = evaluate(
        run, dataset=dataset, data=data, part=part, weights=weights, tta=tta, max_pixels=max_pixels, force=force
    )
    report = evaluation.report()
    if as_json:
        print_json({"run": str(run), "weights": weights} | report)
        return
    several = evaluation.thresholds is not None
    measures = (*MEASURES, *SEVERAL) if several else MEASURES
    rows = [
        [row["class"], *(_figure(row[measure]) for measure in measures), str(row["images"])]
        for row in report["classes"]
    ]
    print_table(class_columns(measures) if several else COLUMNS, rows, wide=wide)
    if several:
        tell(
            f"{evaluation.part}: mAP {_figure(report['mean_average_precision'])} of "
            f"{counted(report['images'], 'image')}, macro F1 {report['macro_f1']:.3f}, micro F1 "
            f"{report['micro_f1']:.3f}; all labels right for {evaluation.accuracy:.1%} ({weights} weights)"
        )
        return
    tell(
        f"{evaluation.part}: accuracy {evaluation.accuracy:.1%} of {counted(report['images'], 'image')}, "
        f"cross-entropy {evaluation.loss:.4f} ({weights} weights)"
    )
