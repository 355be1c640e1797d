"""The folder of a tuning: what is in it, and the record with which its command is given again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cnn_registry.data.manifest import as_source, columns_of, path_of
from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.recipes.load import load_recipe
from cnn_registry.recipes.resolution import leaves
from cnn_registry.recipes.schema import Recipe, json_ready, validated
from cnn_registry.runs.new_directory import file_name, new_directory, stamped
from cnn_registry.runs.run import Run
from cnn_registry.system.files import read_regular, write_file
from cnn_registry.workflows.foreign import refuse_foreign_code

from .space import space_lines
from .storage import has_password
from .task import Task

STUDY, SPACE, RECORD, BEST, PAGE = "study.db", "space.toml", "tune.json", "best.toml", "tuning.html"
"""What is in the folder of a tuning, besides the folders of runs."""

MAX_RECORD = 2**20
"""Bytes of `RECORD`."""

TRIALS, RETRAINED = "trials", "best"
"""The folders of runs."""


NAMES_CODE = ("augmentation", "callbacks", "loss", "metrics", "optimizer", "schedule")
"""Settings, and tables of settings, that may name objects."""


class Record(BaseModel):
    """How the command of a tuning is given again; the names are those of `tune`'s arguments, and of a manifest's."""

    model_config = ConfigDict(strict=True)

    model: str
    dataset: str | None = None
    data: str | None = None
    columns: dict[str, str] = {}
    max_pixels: Annotated[int, Field(gt=0)] | None = None
    recipe: str | dict[str, Any] | None = None
    settings: dict[str, Any] = {}
    storage: str | None = None
    study: str | None = None
    trials: int | None = None
    sampler: str | None = None
    pruner: str | None = None


def new_folder(what: Task) -> Path:
    """A new folder in ``runs``."""
    return new_directory(Path("runs"), stamped(what.spec.name, file_name(what.plan.data.name), "tuning"))


def own_storage(folder: Path) -> str:
    """The address of the database in a tuning's folder.

    Raises:
        UsageError: the folder's name does not fit into an address.
    """
    from sqlalchemy.engine import URL, make_url

    file = str((folder / STUDY).absolute())
    url = URL.create("sqlite", database=file).render_as_string()
    if make_url(url).database != file:
        raise UsageError(f"{folder.absolute()} has a letter that the address of a database cannot have; name another.")
    return url


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a tuning.

    Raises:
        UsageError: it does.
    """
    ours = any((folder / name).is_file() for name in (RECORD, STUDY))
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not a tuning, and not empty; name another folder with -o.")


def write_record(folder: Path, what: Task, url: str, study: str, trials: int | None, parts: Mapping[str, Any]) -> None:
    """Write what is searched, and how the same command is given again.

    Args:
        folder: the tuning's.
        what: what is tuned.
        url: the storage's address; one with a password is not written.
        study: the study's name.
        trials: how many there will be; ``None`` for any number.
        parts: sampler and pruner as they were given; objects are not written.
    """
    from sqlalchemy.engine import make_url

    lines = ["# What is searched; cnnreg tune --space reads it.", *space_lines(what.space)]
    write_file(folder / SPACE, "\n".join(lines) + "\n")
    data, recipe = what.images["data"], what.recipe
    storage = None if make_url(url).database == str((folder / STUDY).absolute()) else url
    record = {
        "model": what.model,
        "dataset": what.images["dataset"],
        "data": None if data is None else str(path_of(data).absolute()),
        "columns": columns_of(data),
        "max_pixels": what.images["max_pixels"],
        "recipe": recipe.to_dict() if isinstance(recipe, Recipe) else _as_path(recipe),
        "settings": dict(what.settings),
        "storage": "" if storage and has_password(storage) else storage,
        "study": study,
        "trials": trials,
        **{name: part if isinstance(part, str) else None for name, part in parts.items()},
    }
    write_file(folder / RECORD, json.dumps(record, indent=2, default=json_ready) + "\n")


def _as_path(recipe: str | Path | None) -> str | None:
    """A recipe's name, or the whole path of a file or a run."""
    if recipe is None:
        return None
    is_path = str(recipe).endswith(".toml") or (Path(recipe) / "run.json").exists()
    return str(Path(recipe).absolute()) if is_path else str(recipe)


def tuning_in(folder: Path) -> dict[str, Any]:
    """The arguments of the tuning that began in a folder.

    Raises:
        UsageError: there is none, or it names code that the user has not allowed.
    """
    try:
        record = Record.model_validate_json(read_regular(folder / RECORD, MAX_RECORD)).model_dump()
        recipe = record["recipe"]
        record["recipe"] = validated(recipe, str(folder)) if isinstance(recipe, dict) else recipe
        record["data"] = as_source(record["data"], record.pop("columns"))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{folder} is not the folder of a tuning: it has no {RECORD} that can be read.") from error
    _refuse_code(record, folder)
    return record | {"space": folder / SPACE}


def _refuse_code(record: Mapping[str, Any], folder: Path) -> None:
    """Refuse a record that names code: the folder may be somebody else's.

    Raises:
        UsageError: it does.
    """
    recipe = record["recipe"] if isinstance(record["recipe"], Recipe) else load_recipe("default")
    settings = {key: value for key, value in record["settings"].items() if key.partition(".")[0] in NAMES_CODE}
    recipe = recipe.with_settings(settings)
    refuse_foreign_code(recipe, f"The tuning {folder}", {key for key, _ in leaves(recipe.to_dict())})


def newest(out: Path) -> Run | None:
    """The newest run in a folder that can be read."""
    for file in sorted(out.glob("*/run.json"), reverse=True):
        with suppress(CnnRegistryError):
            return Run.open(file.parent)
    return None
