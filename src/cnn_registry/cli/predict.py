"""``cnnreg predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from .common import common_options, json_option, tta_option, weights_option, wide_option
from .output import print_json
from .table import Column, print_table

COLUMNS = (Column("image", at_least=16), Column("class", at_least=12), Column("probability", number=True))


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of classes to show.")
@weights_option
@tta_option
@wide_option
@json_option
@common_options
def command(
    run: Path,
    images: tuple[Path, ...],
    top: int,
    weights: Literal["best", "last"],
    tta: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES with the model of RUN, a run directory."""
    from cnn_registry.inference.predict import predict
    from cnn_registry.runs.run import Run

    predictions = predict(Run.open(run), images, top=top, weights=weights, tta=tta)
    if as_json:
        print_json(
            [
                {
                    "image": str(prediction.image),
                    "classes": [{"class": name, "probability": p} for name, p in prediction.classes],
                }
                for prediction in predictions
            ]
        )
        return
    rows = [
        [str(prediction.image) if i == 0 else "", name, f"{probability:.1%}"]
        for prediction in predictions
        for i, (name, probability) in enumerate(prediction.classes)
    ]
    print_table(COLUMNS, rows, wide=wide)
