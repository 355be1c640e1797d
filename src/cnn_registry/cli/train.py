"""``cnnreg train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .app import INTERRUPTED
from .common import (
    common_options,
    complete_datasets,
    complete_models,
    complete_recipes,
    json_option,
    print_json,
    print_table,
    tell,
)

if TYPE_CHECKING:
    from cnn_registry.folds import Folds


@click.command("train")
@click.argument("model", shell_complete=complete_models)
@click.option("--dataset", shell_complete=complete_datasets, help="A data set's name; see: cnnreg datasets.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder of class folders; with --dataset, that data set's archive or folder.",
)
@click.option("--recipe", shell_complete=complete_recipes, help="A recipe's name or a .toml file; see: cnnreg recipes.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images; as --set epochs=N.")
@click.option("--weights", help="Train on from published weights or a file, as --set fine_tuning.weights=SOURCE.")
@click.option(
    "--freeze", metavar="STAGE", help="Leave a stage and all before it as is, as --set fine_tuning.freeze=STAGE."
)
@click.option(
    "--ema",
    type=click.FloatRange(min=0, min_open=True),
    is_flag=False,
    flag_value=2.0,
    metavar="[EPOCHS]",
    help="Average the weights over the last epochs, 2 if none are given, as --set ema=EPOCHS.",
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Replace a setting of the recipe.")
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    metavar="K",
    help="Cross-validate: K trainings, each validated with another Kth of the images.",
)
@click.option("--split", help="'stratified', 'tuning', or one that the data set brings.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where the new run directory is made.",
)
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs into the run directory.")
@click.option(
    "--on-bad-image",
    type=click.Choice(["skip", "error"]),
    default="skip",
    show_default=True,
    help="What to do about images that cannot be read.",
)
@json_option
@common_options
def command(
    model: str,
    epochs: int | None,
    weights: str | None,
    freeze: str | None,
    ema: float | None,
    folds: int | None,
    assignments: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Train MODEL and leave a run directory with weights, history, report and pictures."""
    from cnn_registry.folds import train_folds
    from cnn_registry.training.recipe import parse_settings
    from cnn_registry.workflow import train

    given = {"epochs": epochs, "fine_tuning.weights": weights, "fine_tuning.freeze": freeze, "ema": ema}
    settings = parse_settings(assignments) | {key: value for key, value in given.items() if value is not None}
    if folds:
        _tell_folds(train_folds(model, folds, settings=settings, **options), as_json)
        return
    run = train(model, settings=settings, **options)
    if as_json:
        print_json({"run": str(run.path), "status": run.record.status, "result": run.record.result})
    else:
        _print_result(run.path, run.record.status, run.record.result)
    if run.record.status == "interrupted":
        click.get_current_context().exit(INTERRUPTED)


def _tell_folds(found: Folds, as_json: bool) -> None:
    if as_json:
        print_json({"directory": str(found.path)} | found.summary())
    else:
        rows = [
            [fold["split"], f"{fold['accuracy']:.1%}", f"{fold['best_accuracy']:.1%}", fold["run"]]
            for fold in found.summary()["folds"]
        ]
        print_table(["fold", "accuracy", "at lowest loss", "run"], rows, right=["accuracy", "at lowest loss"])
        tell(f"validation accuracy at the last epoch: mean {found.mean:.1%}, standard deviation {found.deviation:.1%}")
        tell(f"report of all images together: {found.path}")
    if found.interrupted:
        click.get_current_context().exit(INTERRUPTED)


def _print_result(path: Path, status: str, result: dict[str, Any]) -> None:
    if not result:
        tell(f"{status} before the first epoch ended: {path}")
        return
    last, best = result["last"], result["best"]
    tell(
        f"{status}: validation accuracy {last['val_accuracy']:.1%} at the last epoch ({last['epoch']}), "
        f"{best['val_accuracy']:.1%} at the one with the lowest validation loss ({best['epoch']})"
    )
    tell(f"run directory: {path}")
    tell(f"next: cnnreg evaluate {path}   or   cnnreg predict {path} IMAGE...")
