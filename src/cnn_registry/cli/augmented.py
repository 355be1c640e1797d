"""``cnnreg augmented``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .batches import max_pixels_option
from .common import common_options, training_options
from .output import check_new_png, tell

if TYPE_CHECKING:
    from cnn_registry.data.manifest import Manifest


@click.command("augmented")
@training_options()
@click.option("--images", type=click.IntRange(1, 24), default=6, show_default=True, help="Images, a row each.")
@click.option("--draws", type=click.IntRange(1, 24), default=5, show_default=True, help="Looks at each image.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    default=Path("augmented.png"),
    show_default=True,
    help="The picture, a new file.",
)
@max_pixels_option
@common_options
def command(
    model: str,
    dataset: str | None,
    data: Path | Manifest | None,
    recipe: str | None,
    assignments: tuple[str, ...],
    split: str | None,
    images: int,
    draws: int,
    out: Path,
    max_pixels: int | None,
) -> None:
    """Draw what MODEL sees in training: images with their sizes, augmentation and mixing, and their labels.

    Each row shows an image as it is evaluated, and then at epochs that are spread over the training. Nothing is
    trained.
    """
    from cnn_registry.recipes.load import parse_settings
    from cnn_registry.system.files import whole_file
    from cnn_registry.workflows.augmented import augmented

    if split:
        raise click.UsageError("Images are taken from the whole dataset; remove --split.")
    check_new_png(out, "The sheet")
    sheet = augmented(
        model,
        dataset=dataset,
        data=data,
        recipe=recipe,
        settings=parse_settings(assignments),
        images=images,
        draws=draws,
        max_pixels=max_pixels,
    )
    with whole_file(out) as temporary:
        sheet.save(temporary, "PNG")
    tell(f"sheet: {out}", wrap=False)
