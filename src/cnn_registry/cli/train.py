"""``cnnreg train``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import click
from click.core import ParameterSource

from cnn_registry.system.progress import muted, note
from cnn_registry.text import shell_path

from .app import INTERRUPTED, TERMINATED
from .common import ImageSizeType, common_options, json_option, training_options
from .output import print_json, tell
from .recipes import SETTINGS, setting_text
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.data.manifest import Manifest
    from cnn_registry.runs.run import Run
    from cnn_registry.workflows.cross_validate import Folds

EXIT_CODES = {"interrupted": INTERRUPTED, "terminated": TERMINATED}
"""Exit codes of trainings that were asked to stop: 128 and the signal's number."""

FOLDS = (
    Column("fold"),
    Column("accuracy", number=True),
    Column("best epoch", number=True),
    Column("run", at_least=12),
)


class PlanArguments(TypedDict):
    """Arguments that decide what is trained and where it is written."""

    dataset: str | None
    data: str | Path | Manifest | None
    recipe: str | None
    split: str | None
    out: Path


class RunArguments(TypedDict):
    """Arguments that do not change the result of a training."""

    track: tuple[str, ...]
    tensorboard: bool
    checkpoint_minutes: float
    keep_going: bool
    on_nan: Literal["stop", "rollback"]
    on_bad_image: Literal["skip", "error"]
    max_pixels: int | None
    distribute: Literal["auto", "none", "mirrored", "multiworker"]


class GivenArguments(RunArguments, total=False):
    """Those of them that the user gave."""


@click.command("train")
@training_options(model_required=False)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images; as --set epochs=N.")
@click.option(
    "--time-limit",
    metavar="TIME",
    help="Time for a training and its report, such as 90s, 30m or 2h, over which the schedule is laid; as --set "
    "time_limit=TIME.",
)
@click.option(
    "--lr", type=float, metavar="RATE", help="The (highest) learning rate; as --set optimizer.learning_rate=RATE."
)
@click.option("--batch-size", type=int, metavar="N", help="Images per step; as --set batch_size=N.")
@click.option(
    "--image-size",
    type=ImageSizeType(),
    metavar="PIXELS|HxW",
    help="Edge length, or height and width, of images; as --set image_size=PIXELS.",
)
@click.option("--seed", type=int, metavar="N", help="Seed of everything that is random; as --set seed=N.")
@click.option("--weights", help="Start from published weights, a file or a run; as --set fine_tuning.weights=SOURCE.")
@click.option(
    "--freeze", metavar="STAGE", help="Freeze a stage and everything before it; as --set fine_tuning.freeze=STAGE."
)
@click.option(
    "--ema",
    type=click.FloatRange(min=0, min_open=True),
    is_flag=False,
    flag_value=2.0,
    metavar="[EPOCHS]",
    help="Average the weights over the last epochs (2 by default); as --set ema=EPOCHS.",
)
@click.option(
    "--callback",
    "callbacks",
    multiple=True,
    metavar="MODULE:OBJECT[,KEY=VALUE]",
    help="Call a Keras callback (repeatable); adds to the recipe's setting 'callbacks'.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    metavar="K",
    help="Cross-validate: K trainings, each validated on a different 1/K of the images.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Directory in which the new run directory is made.",
)
@click.option(
    "--resume",
    "resumed",
    metavar="RUN|auto",
    help="Resume a stopped run; 'auto' resumes the newest run started with the same arguments, or starts a new one.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be trained, and where each setting comes from.")
@click.option("--force", is_flag=True, help="Resume although settings, images or versions have changed.")
@click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Minutes between checkpoints within an epoch (one is also written after each epoch).",
)
@click.option("--keep-going", is_flag=True, help="Continue without checkpoints if they cannot be written.")
@click.option(
    "--on-nan",
    type=click.Choice(["stop", "rollback"]),
    default="stop",
    show_default=True,
    help="When the loss becomes NaN or infinite: stop, or roll back to the latest checkpoint and halve the learning "
    "rate.",
)
@click.option(
    "--track",
    multiple=True,
    type=click.Choice(["tensorboard", "mlflow", "wandb"]),
    help="Send settings, curves, results and weights there as well (repeatable).",
)
@click.option("--tensorboard", is_flag=True, help="The same as --track tensorboard.")
@click.option(
    "--on-bad-image",
    type=click.Choice(["skip", "error"]),
    default="skip",
    show_default=True,
    help="What to do about images that cannot be read.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read images of up to N pixels, for scans; default 89 million, as larger ones may be decompression bombs.",
)
@click.option(
    "--distribute",
    type=click.Choice(["auto", "none", "mirrored", "multiworker"]),
    default="auto",
    show_default=True,
    help="'mirrored': on all GPUs of this machine; 'multiworker': with the other processes that TF_CONFIG or SLURM "
    "names; 'auto': by what is there.",
)
@json_option
@common_options
def command(
    model: str | None,
    dataset: str | None,
    data: str | Path | Manifest | None,
    recipe: str | None,
    epochs: int | None,
    time_limit: str | None,
    lr: float | None,
    batch_size: int | None,
    image_size: int | tuple[int, int] | None,
    seed: int | None,
    weights: str | None,
    freeze: str | None,
    ema: float | None,
    assignments: tuple[str, ...],
    callbacks: tuple[str, ...],
    folds: int | None,
    split: str | None,
    out: Path,
    resumed: str | None,
    dry_run: bool,
    force: bool,
    checkpoint_minutes: float,
    keep_going: bool,
    on_nan: Literal["stop", "rollback"],
    track: tuple[str, ...],
    tensorboard: bool,
    on_bad_image: Literal["skip", "error"],
    max_pixels: int | None,
    distribute: Literal["auto", "none", "mirrored", "multiworker"],
    as_json: bool,
) -> None:
    """Train MODEL on images.

    Every training leaves a new run directory with weights, history, report and plots.
    """
    if not resumed:
        _named(model)
    from cnn_registry.recipes.load import parse_settings
    from cnn_registry.workflows.train import train

    short = {
        "epochs": epochs,
        "time_limit": time_limit,
        "optimizer.learning_rate": lr,
        "batch_size": batch_size,
        "image_size": image_size,
        "seed": seed,
        "fine_tuning.weights": weights,
        "fine_tuning.freeze": freeze,
        "ema": ema,
        "callbacks": list(callbacks) or None,
    }
    settings = parse_settings(assignments) | {key: value for key, value in short.items() if value is not None}
    what = PlanArguments(dataset=dataset, data=data, recipe=recipe, split=split, out=out)
    how = RunArguments(
        track=track,
        tensorboard=tensorboard,
        checkpoint_minutes=checkpoint_minutes,
        keep_going=keep_going,
        on_nan=on_nan,
        on_bad_image=on_bad_image,
        max_pixels=max_pixels,
        distribute=distribute,
    )
    _check_together(folds, resumed, dry_run=dry_run, force=force)
    if dry_run:
        _print_plan(_named(model), settings, what, how, as_json)
    elif folds:
        from cnn_registry.workflows.cross_validate import train_folds

        found = train_folds(_named(model), folds, settings=settings, resume_from=resumed, **what, **how)
        _report_folds(found, as_json)
    else:
        run = _resumed(resumed, model, settings, force, what, how) if resumed else None
        _report(run or train(_named(model), settings=settings, **what, **how), as_json)


def _check_together(folds: int | None, resumed: str | None, *, dry_run: bool, force: bool) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: there are two.
    """
    if resumed == "auto" and folds:
        raise click.UsageError("--resume auto resumes one run; with --folds, name the directory of the folds.")
    if force and not resumed:
        raise click.UsageError("--force is for --resume.")
    if dry_run and (resumed or folds):
        raise click.UsageError("--dry-run is for a new training; remove --resume or --folds.")


def _named(model: str | None) -> str:
    """The model, which can only be left out where a run is resumed.

    Raises:
        UsageError: it was left out.
    """
    if model is None:
        raise click.UsageError("Name a model; see: cnnreg list.")
    return model


def _resumed(
    which: str, model: str | None, settings: dict[str, Any], force: bool, what: PlanArguments, how: RunArguments
) -> Run | None:
    """The resumed run, at its end; ``None`` where ``auto`` finds none.

    Raises:
        UsageError: an argument does not go together with resuming.
    """
    from cnn_registry.backend.strategy import distribution as join_workers
    from cnn_registry.workflows.resume import resume, unfinished

    if which == "auto":
        if model is None:
            raise click.UsageError("--resume auto needs the model and the other arguments of the training.")
        joined = join_workers(how["distribute"])
        found = joined.broadcast_from_chief(lambda: _as_text(unfinished(model, settings=settings, **what)))
        if found is None:
            with muted(not joined.is_chief):
                note(f"No unfinished run with these arguments in {what['out']}; starting a new one.")
            return None
        return resume(found, force=force, **_given(how))
    names = [name for name in PlanArguments.__annotations__ if name != "data"]
    extra = [f"--{name.replace('_', '-')}" for name in names if _is_given(name)]
    if model or extra:
        surplus = "the model" if model else min(extra)
        raise click.UsageError(f"The run already determines what is trained; remove {surplus}.")
    return resume(which, data=what["data"], settings=settings, force=force, **_given(how))


def _as_text(path: Path | None) -> str | None:
    """A path as JSON can express it."""
    return None if path is None else str(path)


def _is_given(name: str) -> bool:
    """Whether the user gave the option on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _given(how: RunArguments) -> GivenArguments:
    """Those options that the user gave; a run is resumed with its own otherwise."""
    return cast("GivenArguments", {name: value for name, value in how.items() if _is_given(name)})


def _print_plan(model: str, settings: dict[str, Any], what: PlanArguments, how: RunArguments, as_json: bool) -> None:
    """Print what would be trained; what a training refuses at its beginning is refused, and nothing is written."""
    from cnn_registry.backend import require_tensorflow
    from cnn_registry.registry.models import get_spec
    from cnn_registry.workflows.options import new_options
    from cnn_registry.workflows.plan import Request
    from cnn_registry.workflows.train import dry_run

    carried_out = (how["track"], how["tensorboard"], how["checkpoint_minutes"], how["keep_going"], how["on_nan"])
    options = new_options((), *carried_out, report=True)
    require_tensorflow()
    request = Request(
        get_spec(model),
        settings=settings,
        dataset=what["dataset"],
        data=what["data"],
        recipe=what["recipe"],
        split=what["split"],
        on_bad_image=how["on_bad_image"],
        max_pixels=how["max_pixels"],
    )
    plan = dry_run(request, options, how["distribute"])
    if plan is None:
        return  # the chief prints
    rows = plan.resolved.rows()
    if as_json:
        listed = [{"key": key, "value": value, "from": origin} for key, value, origin in rows]
        print_json({"plan": plan.line(), "data": plan.data.source, "split": plan.parts.name, "settings": listed})
        return
    tell(plan.line())
    tell(f"data: {plan.data.source}; split: {plan.parts.name}")
    for finding in plan.findings():
        tell(finding)
    print_table(SETTINGS, [[key, setting_text(value), origin] for key, value, origin in rows])


def _report(run: Run, as_json: bool) -> None:
    """Print how a run ended, and exit accordingly."""
    status = run.record.status
    with suppress(BrokenPipeError):  # the work is done, whoever reads
        if not run.writes:
            pass  # the worker that writes it prints
        elif as_json:
            print_json({"run": str(run.path), "status": status, "result": run.record.result})
        else:
            _print_result(run, status, run.record.result)
            if status in EXIT_CODES:
                tell(f"resume with: cnnreg train --resume {shell_path(run.path)}", wrap=False)
    if status in EXIT_CODES:
        click.get_current_context().exit(EXIT_CODES[status])


def _print_result(run: Run, status: str, result: dict[str, Any]) -> None:
    from cnn_registry.runs.history import WATCHED

    path, by = run.path, run.record.recipe.best_by
    if not result:
        tell(f"{status} before the first epoch ended: {path}")
        return
    last, best = result["last"], result["best"]
    line = f"{status}: validation accuracy {last['val_accuracy']:.1%} after the last epoch ({last['epoch']})"
    if by != "last":
        line += f", {best['val_accuracy']:.1%} after the best epoch by {WATCHED[by]} ({best['epoch']})"
    tell(line)
    tell(f"run directory: {path}", wrap=False)
    if (path / "report.html").is_file():
        tell(f"report: {path / 'report.html'}", wrap=False)
    tell(f"next: cnnreg evaluate {shell_path(path)}   or   cnnreg predict {shell_path(path)} IMAGE...", wrap=False)


def _report_folds(found: Folds, as_json: bool) -> None:
    with suppress(BrokenPipeError):
        if as_json:
            print_json({"directory": str(found.path)} | found.summary())
        else:
            rows = [
                [fold["split"], f"{fold['accuracy']:.1%}", f"{fold['best_accuracy']:.1%}", fold["run"]]
                for fold in found.summary()["folds"]
            ]
            print_table(FOLDS, rows, footnote=False)
            measured = f"mean {found.mean:.1%}, standard deviation {found.deviation:.1%}"
            tell(f"validation accuracy after the last epoch: {measured}")
            tell(f"report of all images together: {found.path}", wrap=False)
    if found.stopped in EXIT_CODES:
        click.get_current_context().exit(EXIT_CODES[found.stopped])
