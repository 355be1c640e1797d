"""A new plugin package, from its name to its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn_registry.errors import UsageError
from cnn_registry.recipes.load import recipe_names
from cnn_registry.registry.catalogue import Catalogue
from cnn_registry.registry.current import current_registry
from cnn_registry.registry.discovery import COMMANDS
from cnn_registry.registry.extensions import extensions

from .names import Taken, check_author, check_name, distribution_name
from .render import NOUNS, render
from .write import write


def new_package(
    name: str,
    *,
    template: str = "plain",
    models: Sequence[str] = (),
    author: str | None = None,
    out: Path = Path(),
) -> Path:
    """Write a plugin package that can be installed and passes its own tests.

    Args:
        name: the name of what it provides; its package is ``cnnreg-<name>``.
        template: the network to start from, ``"plain"``, ``"residual"`` or ``"inception"``; or ``"dataset"``,
            ``"recipe"`` or ``"command"``.
        models: the names of its models, if it provides several; then ``name`` is that of the package alone.
        author: for the metadata and the licence; default "The cnnreg-<name> authors".
        out: the folder in which the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        UsageError: a name or the author is invalid, a name is taken or given twice, there are ``models`` of a template
            that is not a network, or the folder exists.
        CnnRegistryError: the folder could not be written.
    """
    registry = current_registry()
    in_use: dict[str, Catalogue[Any] | Taken] = {
        "dataset": registry.datasets,
        "recipe": Taken("recipe", recipe_names()),
        "command": Taken("command", extensions(COMMANDS)),
    }
    if models:
        _check_models(name, template, models)
    else:
        check_name(name, in_use.get(template, registry.models))
    distribution = distribution_name(name)
    author = check_author(author if author is not None else f"The {distribution} authors")
    target = out / distribution
    write(render(name, template, author, models), target)
    return target


def _check_models(name: str, template: str, models: Sequence[str]) -> None:
    """Refuse names that a package of several models cannot have.

    Raises:
        UsageError: as `new_package`.
    """
    if template in NOUNS:
        raise UsageError(f"Several models start from a network; the template {template!r} is not one.")
    check_name(name, Taken("package", ()))
    for model in models:
        check_name(model, current_registry().models)
    if len(set(models)) < len(models):
        raise UsageError(f"The models need different names; got {', '.join(models)}.")
