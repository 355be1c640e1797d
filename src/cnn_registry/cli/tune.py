"""``cnnreg tune``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cnn_registry.text import shell_path

from .batches import max_pixels_option
from .common import common_options, json_option, training_options, wide_option
from .output import print_json, tell
from .table import Column, print_table
from .train import EXIT_CODES

if TYPE_CHECKING:
    from cnn_registry.data.manifest import Manifest
    from cnn_registry.tuning.outcome import Tuned

FOUND = (Column("setting"), Column("best", at_least=12))


@click.command("tune")
@training_options(model_required=False, split=False)
@click.option(
    "--space",
    default="default",
    show_default=True,
    metavar="FILE.toml|default",
    help="The settings to search, such as: optimizer.learning_rate = {low = 1e-4, high = 1e-1, log = true}",
)
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Trials, in all processes together.")
@click.option("--time", metavar="TIME", help="Time for the trials and the last training, such as 90s, 30m or 2h.")
@click.option(
    "--storage",
    metavar="URL",
    help="Database of the study: sqlite:///tune.db, postgresql://... (default: an SQLite file in the folder).",
)
@click.option("--study", metavar="NAME", help="Name of the study in the storage (default: MODEL on DATA).")
@click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    metavar="NAME[,KEY=VALUE]",
    help="A sampler of Optuna: tpe, random, ...",
)
@click.option(
    "--pruner",
    default="median",
    show_default=True,
    metavar="NAME[,KEY=VALUE]",
    help="A pruner of Optuna: median, hyperband, none, ...",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of everything that is written (default: a new one in runs).",
)
@click.option(
    "--resume", is_flag=True, help="Continue the study that exists; without MODEL, with the arguments recorded in DIR."
)
@max_pixels_option
@wide_option
@json_option
@common_options
def command(
    model: str | None,
    dataset: str | None,
    data: Path | Manifest | None,
    recipe: str | None,
    assignments: tuple[str, ...],
    space: str,
    trials: int | None,
    time: str | None,
    storage: str | None,
    study: str | None,
    sampler: str,
    pruner: str,
    out: Path | None,
    resume: bool,
    max_pixels: int | None,
    wide: bool,
    as_json: bool,
) -> None:
    """Search for the settings with which MODEL trains best, and train with them.

    Trials are validated on part of the training images. The best settings are then trained on all of them, and
    evaluated once on the validation images, which no trial has seen. The same command continues a stopped search.
    """
    from cnn_registry.recipes.load import parse_settings
    from cnn_registry.tuning.folder import tuning_in
    from cnn_registry.tuning.tune import tune

    what: dict[str, Any] = {
        "model": model,
        "dataset": dataset,
        "data": data,
        "recipe": recipe,
        "settings": parse_settings(assignments),
        "space": space,
        "trials": trials,
        "storage": storage,
        "study": study,
        "max_pixels": max_pixels,
    }
    parts: dict[str, Any] = {"sampler": sampler, "pruner": pruner}
    if model is None:
        if not (resume and out):
            raise click.UsageError("Name a model; see: cnnreg list. To continue a tuning: cnnreg tune --resume -o DIR")
        source = click.get_current_context().get_parameter_source
        for name in ("dataset", "data", "recipe", "assignments", "space", "study", "max_pixels"):
            if source(name) is ParameterSource.COMMANDLINE:
                option = {"assignments": "set", "max_pixels": "max-pixels"}.get(name, name)
                raise click.UsageError(f"The tuning in {out} already determines what is tuned; remove --{option}.")
        recorded = tuning_in(out)
        if recorded["storage"] == "" and storage is None:
            raise click.UsageError("The storage has a password, which is not recorded; name it with --storage.")
        for name in parts:
            kept = recorded.pop(name, None)
            if kept and source(name) is not ParameterSource.COMMANDLINE:
                parts[name] = kept
        what = recorded | {name: what[name] for name in ("trials", "storage") if what[name] is not None}
        if time is not None and trials is None:
            what["trials"] = None
    again = "" if what["trials"] is not None else f" --time {time}"
    _report(tune(**what, time=time, **parts, out=out, resume=resume), again, wide, as_json)


def _report(found: Tuned, again: str, wide: bool, as_json: bool) -> None:
    """Print what was found, and exit accordingly; ``again`` is what resuming takes besides the folder."""
    folder = shell_path(found.path)
    if as_json:
        print_json(
            {
                "directory": str(found.path),
                "study": found.study,
                "stopped": found.stopped or None,
                "best": dict(found.best),
                "recipe": str(found.recipe) if found.recipe else None,
                "run": str(found.run.path) if found.run else None,
                "accuracy": found.accuracy,
                "page": str(found.page) if found.page else None,
                "trials": json.loads(json.dumps(found.trials)),
            }
        )
    elif found.stopped:
        ended = sum(row["state"] in ("complete", "pruned") for row in found.trials)
        tell(f"{found.stopped} after {ended} trials: {found.path}")
        tell(f"resume with: cnnreg tune --resume -o {folder}{again}", wrap=False)
    else:
        from cnn_registry.tuning.space import brief

        assert found.run
        print_table(FOUND, [[key, brief(value)] for key, value in found.best.items()], wide=wide)
        if found.accuracy is not None:
            tell(f"accuracy on the validation images, which no trial has seen: {found.accuracy:.1%}")
        tell(f"best recipe: {found.recipe}", wrap=False)
        tell(f"trained with it: {found.run.path}", wrap=False)
        tell(f"page: {found.page}", wrap=False)
    if found.stopped in EXIT_CODES:
        click.get_current_context().exit(EXIT_CODES[found.stopped])
