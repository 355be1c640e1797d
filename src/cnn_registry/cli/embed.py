"""``cnnreg embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from cnn_registry.errors import UsageError

from .batches import (
    Meter,
    bad_image_option,
    file_option,
    max_pixels_option,
    resume_option,
    sources_argument,
    standard_input,
)
from .common import RunType, common_options, force_option, weights_option
from .output import tell
from .predict import assemble, journal, resumed


@click.command("embed")
@click.argument("run", type=RunType())
@sources_argument
@file_option("File for the features: .npz or .parquet.", required=True)
@resume_option
@weights_option
@bad_image_option
@max_pixels_option
@force_option
@common_options
def command(
    run: str | Path,
    sources: tuple[str, ...],
    out: Path,
    resume: bool,
    weights: Literal["best", "last"],
    on_bad_image: Literal["skip", "error"],
    max_pixels: int | None,
    force: bool,
) -> None:
    """Write the pooled features of images: what the trained network of RUN knows before it decides.

    A SOURCE is whatever cnnreg predict takes. An .npz file has the arrays features and paths; pictures that cannot be
    read are in bad_paths and bad_reasons.
    """
    from cnn_registry.inference.feature_rows import feature_row, features_done, parquet_of_features, write_npz
    from cnn_registry.inference.features import embeddings, feature_predictor
    from cnn_registry.inference.sources import find_pictures
    from cnn_registry.runs.run import load_run
    from cnn_registry.system.extras import need_arrow

    if out.suffix not in (".npz", ".parquet"):
        raise UsageError(f"Features are written to a file that ends in .npz or .parquet; got {out.name}.")
    if out.suffix == ".parquet":
        need_arrow()
    predictor = feature_predictor(load_run(run), weights, force=force)
    pictures = find_pictures(sources, standard_input(), must_exist=on_bad_image == "error")
    meter = Meter("Embedding")
    with journal(out, resume, {"run": str(run), "weights": weights}) as lines:
        remaining = resumed(lines, features_done(lines.read()), resume, meter).remaining(pictures, str)
        found = embeddings(predictor, remaining, on_bad_image=on_bad_image, max_pixels=max_pixels)
        for row in meter.watch(found):
            lines.write([feature_row(row.image, row.feature, row.reason)])
        assemble(lines, out, parquet_of_features if out.suffix == ".parquet" else write_npz)
    meter.refuse_none()
    tell(f"features: {out}", wrap=False)
