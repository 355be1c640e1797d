"""``cnnreg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .common import (
    common_options,
    complete_datasets,
    json_option,
    print_json,
    print_table,
    tell,
    tta_option,
    weights_option,
)


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--dataset", shell_complete=complete_datasets, help="A data set's name; default the run's own.")
@click.option("--data", type=click.Path(path_type=Path), help="Other images, as for train.")
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part; default val of the run's own images, all of others.",
)
@weights_option
@tta_option
@json_option
@common_options
def command(run: Path, as_json: bool, **options: Any) -> None:
    """Measure the model of RUN, a run directory, on its own images or on others."""
    from cnn_registry.inference.evaluate import evaluate
    from cnn_registry.runs.run import Run

    evaluation = evaluate(Run.open(run), **options)
    report = evaluation.report()
    if as_json:
        print_json({"run": str(run), "weights": options["weights"]} | report)
        return
    measures = ("precision", "recall", "f1")
    rows = [
        [row["class"], *(f"{row[measure]:.3f}" for measure in measures), str(row["images"])]
        for row in report["classes"]
    ]
    print_table(["class", *measures, "images"], rows, right=[*measures, "images"])
    tell(
        f"{evaluation.part}: accuracy {evaluation.accuracy:.1%} of {report['images']} images, "
        f"loss {evaluation.loss:.4f} ({options['weights']} weights)"
    )
