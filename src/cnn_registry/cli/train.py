"""``cnnreg train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .app import INTERRUPTED, TERMINATED
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
    from cnn_registry.runs.run import Run
    from cnn_registry.workflows.cross_validate import Folds

STOPPED = {"interrupted": INTERRUPTED, "terminated": TERMINATED}
"""Exit codes of trainings that were asked to stop: 128 and the signal's number."""

MANNER = {"tensorboard", "checkpoint_minutes", "keep_going", "on_nan"}
"""Options that change nothing of what a training ends with."""


@click.command("train")
@click.argument("model", required=False, shell_complete=complete_models)
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
@click.option(
    "--resume",
    "resumed",
    metavar="RUN|auto",
    help="Go on with a run that was stopped; 'auto': with the newest one of these arguments, or begin one.",
)
@click.option("--force", is_flag=True, help="Resume although settings, images or versions have changed.")
@click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Between checkpoints inside an epoch; there is one at each epoch's end, too.",
)
@click.option("--keep-going", is_flag=True, help="Train on without checkpoints where they cannot be written.")
@click.option(
    "--on-nan",
    type=click.Choice(["stop", "rollback"]),
    default="stop",
    show_default=True,
    help="When the loss is no number: stop, or go back to the latest checkpoint and halve the learning rate.",
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
    model: str | None,
    epochs: int | None,
    weights: str | None,
    freeze: str | None,
    ema: float | None,
    assignments: tuple[str, ...],
    folds: int | None,
    resumed: str | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train MODEL and leave a run directory with weights, history, report and pictures."""
    from cnn_registry.recipes.load import parse_settings
    from cnn_registry.workflows.train import train

    given = {"epochs": epochs, "fine_tuning.weights": weights, "fine_tuning.freeze": freeze, "ema": ema}
    settings = parse_settings(assignments) | {key: value for key, value in given.items() if value is not None}
    if resumed and folds:
        raise click.UsageError("--resume goes on with one run; name a fold's run, without --folds.")
    if force and not resumed:
        raise click.UsageError("--force is for --resume.")
    if resumed and (run := _resumed(resumed, model, settings, force, options)):
        _tell(run, as_json)
        return
    if model is None:
        raise click.UsageError("Name a model; see: cnnreg list.")
    if folds:
        from cnn_registry.workflows.cross_validate import train_folds

        _tell_folds(train_folds(model, folds, settings=settings, **options), as_json)
        return
    _tell(train(model, settings=settings, **options), as_json)


def _resumed(
    which: str, model: str | None, settings: dict[str, Any], force: bool, options: dict[str, Any]
) -> Run | None:
    """The run that went on; ``None`` where ``auto`` finds none.

    Raises:
        UsageError: what is given besides the run does not go with it.
    """
    from cnn_registry.system.progress import note
    from cnn_registry.workflows.resume import resume, unfinished

    context = click.get_current_context()
    asked = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    manner = {name: options[name] for name in MANNER}
    if which != "auto":
        if model or asked - MANNER:
            extra = "a model" if model else f"--{min(asked - MANNER).replace('_', '-')}"
            raise click.UsageError(f"The run says what is trained; leave {extra} out.")
        return resume(which, settings=settings, force=force, **manner)
    if model is None:
        raise click.UsageError("--resume auto needs the model, and the other arguments of the training.")
    named = {name: options[name] for name in ("dataset", "data", "recipe", "split", "out")}
    found = unfinished(model, settings=settings, **named)
    if found is None:
        note(f"There is no unfinished training of this kind in {options['out']}; it begins.")
        return None
    return resume(found, force=force, **manner)


def _tell(run: Run, as_json: bool) -> None:
    """Print how a run ended, and exit accordingly."""
    status = run.record.status
    if as_json:
        print_json({"run": str(run.path), "status": status, "result": run.record.result})
    else:
        _print_result(run.path, status, run.record.result)
    if status in STOPPED:
        if not as_json:
            tell(f"go on with: cnnreg train --resume {shlex.quote(str(run.path))}")
        click.get_current_context().exit(STOPPED[status])


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
    if found.stopped in STOPPED:
        click.get_current_context().exit(STOPPED[found.stopped])


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
