"""The files of a package, made from templates in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from string import Template

from cnn_registry import __version__
from cnn_registry.registry.discovery import COMMANDS, DATASETS, MODELS, RECIPES
from cnn_registry.registry.policy import CORE
from cnn_registry.text import listing

from .names import distribution_name

FOLDER = Path(__file__).parent / "templates"
SUFFIX = ".tmpl"
"""Keeps the templates from being taken for Python modules and projects."""

LAYERS: Mapping[str, tuple[str, ...]] = {
    "plain": ("common", "model", "plain"),
    "residual": ("common", "model", "residual"),
    "inception": ("common", "model", "inception"),
    "dataset": ("common", "dataset"),
    "recipe": ("common", "recipe"),
    "command": ("common", "command"),
}
"""The folders whose files make up each template."""


NOUNS: Mapping[str, tuple[str, str]] = {
    "dataset": ("dataset", DATASETS),
    "recipe": ("recipe", RECIPES),
    "command": ("command", COMMANDS),
}
"""What a package of a template provides, and its entry-point group; that of others is a model."""


def render(name: str, template: str, author: str, models: Sequence[str] = ()) -> dict[str, str]:
    """The files of a new package: their text by their path in the package.

    Args:
        name: the name of what the package provides, or of the package if it provides several ``models``.
        template: one of `LAYERS`.
        author: for the metadata and the licence.
        models: the names of the models, each of which gets a package of its own in the package; default one model that
            is called ``name``.
    """
    noun, group = NOUNS.get(template, ("model", MODELS))
    module = f"cnnreg_{name}"
    values = {
        "name": name,
        "module": module,
        "distribution": distribution_name(name),
        "what": f"{noun} {name}",
        "group": group,
        "entries": f'{name} = "{module}:{name}"',
        "command": name.replace("_", "-"),
        "requirement": core_requirement(__version__),
        "author": author,
        "quoted_author": json.dumps(author, ensure_ascii=False),  # a JSON string is also a TOML string
        "year": str(date.today().year),
    }
    if not models:
        return dict(_rendered(LAYERS[template], values))
    values["what"] = f"models {listing(models, len(models))}"
    values["entries"] = "\n".join(f'{model} = "{module}.{model}:{model}"' for model in models)
    values["commands"] = "\n".join(f"    cnnreg info {model}" for model in models)
    common, *own = LAYERS[template]
    files = dict(_rendered((common,), values))
    for model in models:
        files |= _rendered(own, values | {"name": model, "module": f"{module}/{model}"})
    return files | dict(_rendered(("models",), values))


def _rendered(layers: Sequence[str], values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Paths and texts of the files of some layers."""
    for layer in layers:
        for path, text in _templates(FOLDER / layer):
            place = path.replace("MODULE", values["module"]).replace("NAME", values["name"])
            yield place, Template(text).substitute(values)


def core_requirement(version: str) -> str:
    """The requirement of a plugin written with ``version`` of this package: ``cnn-registry>=0.1.0,<0.2`` for 0.1.0.

    The next major version may break plugins, and before version 1 also the next minor version.
    """
    public = version.partition("+")[0]  # a local version cannot be compared with >=
    major, minor = map(int, re.findall(r"\d+", f"{public}.0")[:2])
    return f"{CORE}>={public},<{major + 1 if major else f'0.{minor + 1}'}"


def _templates(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        yield path.relative_to(folder).as_posix().removesuffix(SUFFIX), path.read_text(encoding="utf-8")
