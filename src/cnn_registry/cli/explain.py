"""``cnnreg explain``."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from cnn_registry.errors import BadImageError, UsageError
from cnn_registry.system.progress import note, progress, working
from cnn_registry.text import counted

from .batches import max_pixels_option
from .common import RunType, common_options, force_option, json_option, weights_option, wide_option
from .output import print_json, tell
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.explain.images import Explainer, Explanation
    from cnn_registry.inference.pictures import Picture

COLUMNS = (
    Column("image", at_least=16),
    Column("explained class", at_least=12),
    Column("probability", number=True),
    Column("overlay", at_least=16),
)


@click.command("explain")
@click.argument("run", type=RunType())
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for the results: NAME-cam.png, the picture with the map over it, and NAME-cam.npy, the raw map.",
)
@click.option("--target", metavar="CLASS", help="The class to explain (default: the most probable one).")
@click.option("--runner-up", is_flag=True, help="Explain the second most probable class.")
@click.option(
    "--feature", help="A feature of the model, such as stride16, or a layer (default: the last feature); see: info."
)
@weights_option
@max_pixels_option
@force_option
@wide_option
@json_option
@common_options
def command(
    run: str | Path,
    images: tuple[Path, ...],
    out: Path,
    target: str | None,
    runner_up: bool,
    feature: str | None,
    weights: Literal["best", "last"],
    max_pixels: int | None,
    force: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Show which places of IMAGES speak for a class, with the model of RUN: Grad-CAM.

    IMAGES are files or folders of them. Red places speak most for the class, blue ones do not.
    """
    from cnn_registry.explain.images import Explainer
    from cnn_registry.inference.pictures import given
    from cnn_registry.runs.run import load_run

    opened, pictures = load_run(run), list(given(images).pictures)
    stems = _stems([Path(str(picture.name)) for picture in pictures], out)
    explainer = Explainer(
        opened,
        target=target,
        runner_up=runner_up,
        feature=feature,
        weights=weights,
        max_pixels=max_pixels,
        force=force,
    )
    rows = _written(explainer, pictures, stems, out)
    bad = sum("error" in row for row in rows)
    if as_json:
        print_json(rows)
    else:
        cells = [
            [row["image"], row["class"], f"{row['probability']:.1%}", row["overlay"]]
            for row in rows
            if "error" not in row
        ]
        if cells:
            print_table(COLUMNS, cells, wide=wide)
            tell(f"overlays and raw maps: {out}", wrap=False)
        for row in rows:
            if "error" in row:
                note(f"cannot be read: {row['image']}: {row['error']}")
    if bad == len(rows):
        click.get_current_context().exit(1)


def _stems(files: Sequence[Path], out: Path) -> list[str]:
    """Names for what is written, without their endings; files of one name are numbered.

    Raises:
        UsageError: one of them already exists.
    """
    seen: Counter[str] = Counter()
    stems = []
    for file in files:
        seen[file.stem] += 1
        stems.append(f"{file.stem}-cam" if seen[file.stem] == 1 else f"{file.stem}-cam-{seen[file.stem]}")
    for stem in stems:
        for name in (f"{stem}.png", f"{stem}.npy"):
            if (out / name).exists():
                raise UsageError(f"{out / name} already exists; name another directory with -o, or remove it.")
    return stems


def _written(
    explainer: Explainer, pictures: Sequence[Picture], stems: Sequence[str], out: Path
) -> list[dict[str, Any]]:
    """Explain and write, one picture after another; a row for each."""
    rows = []
    count = len(pictures)
    what = f"Explaining {counted(count, 'image')}"
    with progress(what, count) if count > 1 else working(what) as advance:
        for picture, stem in zip(pictures, stems, strict=True):
            try:
                [explanation] = explainer([picture])
                rows.append(_save(explanation, out / stem))
            except BadImageError as error:
                rows.append({"image": str(picture.name), "error": error.reason})
            advance(1)
    return rows


def _save(found: Explanation, path: Path) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    from cnn_registry.system.files import whole_file

    picture, raw = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    Image.fromarray(found.overlay()).save(content, "PNG")
    with whole_file(picture) as temporary:
        temporary.write_bytes(content.getvalue())
    with whole_file(raw) as temporary, temporary.open("wb") as file:
        np.save(file, found.weights, allow_pickle=False)
    return {
        "image": str(found.image),
        "class": found.class_name,
        "probability": found.probability,
        "predicted": found.predicted,
        "overlay": str(picture),
        "map": str(raw),
    }
