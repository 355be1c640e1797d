"""The files of a run that are published: what makes it a run again elsewhere, and what others need of it.

What says where and by whom it was trained stays at home: folders, the command line and the names of machines.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.data.form import FILL, MODES
from cnn_registry.export.facts import installed_versions, licence, resize_rule
from cnn_registry.inference.model import load_model
from cnn_registry.networks.weights.safetensors_file import FILE, to_safetensors
from cnn_registry.recipes.schema import Recipe, validated
from cnn_registry.recipes.toml import toml_lines
from cnn_registry.registry.policy import CORE
from cnn_registry.report.summary import read_summary
from cnn_registry.runs.record import RunRecord
from cnn_registry.runs.run import Run
from cnn_registry.system.files import is_own_file

from .card import CONFIG, PREPROCESSOR, Card, shown_source

if TYPE_CHECKING:
    import keras

MANIFEST = "cnnreg.json"
"""The list of the files that were published together."""

_FOLDERS = re.compile(r"""(?<![^\s='"(\[,])(?:~|[A-Za-z]:)?[\\/]{1,2}(?:[^\\/\s,='"]+(?: +[^\\/\s,='"]+)*[\\/])+""")
"""The folders of an absolute path that is a word, an argument or a text of its own."""

COPIED = ("labels.txt", "history.csv", "report.json", "curves.png", "confusion.png")
"""Files of a run that are published as they are, where they are there. Its page has pictures of the images."""


def write_files(run: Run, folder: Path, *, weights_licence: str, repository: str, force: bool) -> None:
    """Write what is published of a run into an empty folder.

    Args:
        run: the run.
        folder: where to write.
        weights_licence: the licence of the weights.
        repository: ``"user/name"``, for the card.
        force: as for `load_model`.

    Raises:
        RunError, WeightsError, BrokenPluginError, UnknownOptionError: as `load_model`; or a file of the run is damaged.
    """
    summary = read_summary(run)
    with backend.standard_settings():
        model = load_model(run, force=force)
        to_safetensors(run.best_weights, folder / FILE, model.variables, run.class_names)
        config = configuration(model)
    if config is not None:
        (folder / CONFIG).write_text(f"{json.dumps(config, indent=1)}\n", encoding="utf-8")
    Run(folder, published_record(run.record)).save()
    for name in COPIED:
        if is_own_file(run.path / name):
            shutil.copyfile(run.path / name, folder / name)
    recipe = "\n".join(toml_lines(published_recipe(run.record.recipe).to_dict()))
    (folder / "recipe.toml").write_text(f"{recipe}\n", encoding="utf-8")
    facts = preprocessing(run)
    (folder / PREPROCESSOR).write_text(f"{json.dumps(facts, indent=2, ensure_ascii=False)}\n", encoding="utf-8")
    card = Card(run, summary, weights_licence, repository, own_code(config))
    (folder / "README.md").write_text(card.text(), encoding="utf-8")
    listed = {"versions": installed_versions([CORE, "keras", "tensorflow"]), "files": file_digests(folder)}
    (folder / MANIFEST).write_text(f"{json.dumps(listed, indent=2)}\n", encoding="utf-8")


def published_record(record: RunRecord) -> RunRecord:
    """The record without what is known of the place where the run was trained: folders, machine, process, command."""
    data = record.data
    given = None if data.given is None else PurePath(data.given).name
    source = data.source if data.given is None and data.dataset else PurePath(data.source).name
    kept = {key: value for key, value in record.machine.items() if key in ("cpus", "memory", "processor")}
    resumed = [
        item.model_copy(update={"changed": [_without_folders(change) for change in item.changed]})
        for item in record.resumed
    ]
    return record.model_copy(
        update={
            "command": ["cnnreg", "train"],
            "recipe": published_recipe(record.recipe),
            "data": data.model_copy(update={"given": given, "source": source}),
            "machine": kept,
            "process": None,
            "resumed": resumed,
            "result": _everywhere(record.result),
            "trackers": {},
        }
    )


def published_recipe(recipe: Recipe) -> Recipe:
    """The recipe without the folders of the user's files, which arguments of callbacks may have as well."""
    settings = _everywhere(recipe.to_dict())
    if weights := recipe.fine_tuning.weights:
        settings["fine_tuning"]["weights"] = shown_source(weights)
    return validated(settings, recipe.name)


def _everywhere(value: Any) -> Any:
    """JSON-ready data whose texts are `_without_folders`."""
    if isinstance(value, Mapping):
        return {key: _everywhere(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_everywhere(inner) for inner in value]
    return _without_folders(value) if isinstance(value, str) else value


def _without_folders(text: str) -> str:
    """A text whose absolute paths are names of files alone; addresses stay."""
    return _FOLDERS.sub("", text)


def configuration(model: keras.Model) -> dict[str, Any] | None:
    """A network as Keras makes it again from JSON, or ``None`` where it cannot be expressed so.

    Initializers that are not Keras' own are left out: its values are in another file.
    """
    try:
        found: dict[str, Any] = _without_initializers(json.loads(model.to_json()))
    except Exception:  # a plugin's own layers may raise anything
        return None
    return found


def _without_initializers(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        if key.endswith("initializer") and not str(value.get("module")).startswith("keras."):
            return {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
        return {name: _without_initializers(inner, name) for name, inner in value.items()}
    return [_without_initializers(item) for item in value] if isinstance(value, list) else value


def own_code(config: Any) -> set[str] | None:
    """The classes in a configuration that are not Keras' own; ``None`` where there is no configuration."""
    if config is None:
        return None
    found: set[str] = set()
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            module = value.get("module", "keras")
            if "class_name" in value and (not str(module).startswith("keras") or value["class_name"] == "Lambda"):
                found.add(str(value.get("registered_name") or value["class_name"]))
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def preprocessing(run: Run) -> dict[str, Any]:
    """How a picture becomes the network's input, and what its outputs mean; JSON-ready."""
    record, form = run.record, run.record.form
    several = {} if record.thresholds is None else {"thresholds": record.thresholds}
    return several | {
        "labels": record.data.class_names,
        "size": list(form.size),
        "channels": MODES[form.channels],
        "fit": form.resize,
        "crop_share": form.crop_share,
        **({"fill": list(FILL[form.channels])} if form.resize == "letterbox" else {}),
        "resize": resize_rule(form),
        "pixels": record.recipe.pixels,
        "model": record.model.spec["name"],
        "architecture_licence": licence(record.model.spec["provider"]["distribution"]),
    }


def file_digests(folder: Path) -> dict[str, dict[str, str]]:
    """The digests of the files in a folder: SHA-256, and the SHA-1 that git gives them, by which a hub knows them."""
    found = {}
    for file in sorted(folder.iterdir()):
        whole = hashlib.sha256()
        git = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
        with file.open("rb") as content:
            while block := content.read(2**20):
                whole.update(block)
                git.update(block)
        found[file.name] = {"sha256": whole.hexdigest(), "git": git.hexdigest()}
    return found
