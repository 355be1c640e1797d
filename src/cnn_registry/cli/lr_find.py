"""``cnnreg lr-find``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .batches import max_pixels_option
from .common import common_options, data_arguments, json_option, training_options
from .output import check_new_png, print_json, tell

if TYPE_CHECKING:
    from cnn_registry.data.manifest import Manifest


@click.command("lr-find")
@training_options()
@click.option(
    "--steps",
    type=click.IntRange(min=20),
    default=100,
    show_default=True,
    help="Steps at most; the test ends earlier where the loss diverges.",
)
@click.option(
    "--range",
    "rates",
    type=(click.FloatRange(min=0, min_open=True), click.FloatRange(min=0, min_open=True)),
    default=(1e-5, 10.0),
    show_default=True,
    metavar="LOW HIGH",
    help="The first and the last learning rate.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help="Draw the curve into a new file.",
)
@max_pixels_option
@json_option
@common_options
def command(
    model: str,
    dataset: str | None,
    data: Path | Manifest | None,
    recipe: str | None,
    assignments: tuple[str, ...],
    split: str | None,
    steps: int,
    rates: tuple[float, float],
    out: Path | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Suggest a learning rate for MODEL: train a few steps at ever higher rates, and then try some of them.

    Nothing is kept of the network, and no run is made.
    """
    from cnn_registry.recipes.load import parse_settings
    from cnn_registry.report.plots import plot_rates
    from cnn_registry.system.extras import need
    from cnn_registry.workflows.lr_find import find_learning_rate

    if out:
        need("A plot", "matplotlib")
        check_new_png(out, "The plot")
    found = find_learning_rate(
        model,
        dataset=dataset,
        data=data,
        recipe=recipe,
        settings=parse_settings(assignments),
        split=split,
        steps=steps,
        low=rates[0],
        high=rates[1],
        max_pixels=max_pixels,
    )
    if out:
        marks = {
            "suggestion": found.suggestion,
            "steepest": found.steepest,
            "a tenth of the minimum": found.tenth,
        }
        title = f"{model} on {data or dataset or 'the default dataset'}"
        plot_rates(found.rates, found.losses, found.smoothed, marks, out, title=title)
    if as_json:
        print_json(found.to_dict() | {"picture": str(out) if out else None})
        return
    end = "the loss diverged" if found.diverged else "the end of the range"
    tell(f"{len(found.losses)} steps, up to {found.rates[-1]:.2g} ({end})")
    tell(f"the loss falls fastest at   {found.steepest:.2g}")
    tell(f"a tenth of its lowest point {found.tenth:.2g}")
    listed = ", ".join(f"{rate:.2g}" for rate, _ in found.tried)
    tell(f"of {listed}, each tried for some steps, {found.suggestion:.2g} has the lowest loss", wrap=False)
    if out:
        tell(f"picture: {out}", wrap=False)
    options = {"dataset": dataset, "recipe": recipe, "split": split}
    words = [shlex.quote(word) for word in data_arguments(data)]
    words += [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    words += [f"--set {shlex.quote(text)}" for text in assignments]
    if max_pixels:
        words.append(f"--max-pixels {max_pixels}")
    if found.for_images:
        words.append(f"--set optimizer.for_images={found.for_images}")
    tell(f"train with: cnnreg train {' '.join([model, *words])} --lr {found.suggestion:.2g}", wrap=False)
