"""``cnnreg predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from cnn_registry.system.progress import note
from cnn_registry.text import counted

from .common import common_options, force_option, json_option, tta_option, weights_option, wide_option
from .output import print_json
from .table import Column, print_table

COLUMNS = (Column("image", at_least=16), Column("class", at_least=12), Column("probability", number=True))


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Number of classes to show.")
@weights_option
@tta_option
@click.option(
    "--on-bad-image",
    type=click.Choice(["skip", "error"]),
    default="skip",
    show_default=True,
    help="What to do about files that cannot be read: list them with the reason, or stop.",
)
@click.option("--max-pixels", type=click.IntRange(min=1), metavar="N", help="Read images of up to N pixels, for scans.")
@force_option
@wide_option
@json_option
@common_options
def command(
    run: Path,
    images: tuple[Path, ...],
    top: int,
    weights: Literal["best", "last"],
    tta: bool,
    on_bad_image: Literal["skip", "error"],
    max_pixels: int | None,
    force: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Classify images with a trained model.

    RUN is a run directory; IMAGES are files, or folders of them.
    """
    from cnn_registry.inference.predict import predict
    from cnn_registry.runs.run import Run

    predictions = predict(
        Run.open(run),
        images,
        top=top,
        weights=weights,
        tta=tta,
        on_bad_image=on_bad_image,
        max_pixels=max_pixels,
        force=force,
    )
    bad = [prediction for prediction in predictions if prediction.reason]
    if as_json:
        print_json(
            [
                {
                    "image": str(prediction.image),
                    "classes": [{"class": name, "probability": p} for name, p in prediction.classes],
                }
                | ({"error": prediction.reason} if prediction.reason else {})
                for prediction in predictions
            ]
        )
        return
    rows = [
        [str(prediction.image) if i == 0 else "", name, f"{probability:.1%}"]
        for prediction in predictions
        for i, (name, probability) in enumerate(prediction.classes)
    ]
    if rows:
        print_table(COLUMNS, rows, wide=wide)
    for prediction in bad:
        note(f"cannot be read: {prediction.image}: {prediction.reason}")
    if bad:
        note(f"{len(bad)} of {counted(len(predictions), 'image')} cannot be read.")
    if len(bad) == len(predictions):
        click.get_current_context().exit(1)
