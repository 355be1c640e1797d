"""A new plugin package, from its name to its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnn_registry.recipes.load import recipe_names
from cnn_registry.registry.catalogue import Catalogue
from cnn_registry.registry.current import current_registry
from cnn_registry.registry.discovery import COMMANDS
from cnn_registry.registry.extensions import extensions

from .names import Taken, check_author, check_name, distribution_name
from .render import render
from .write import write


def new_package(name: str, *, template: str = "plain", author: str | None = None, out: Path = Path()) -> Path:
    """Write a plugin package that can be installed and passes its own tests.

    Args:
        name: the name of what it provides; its package is ``cnnreg-<name>``.
        template: the network to start from, ``"plain"``, ``"residual"`` or ``"inception"``; or ``"dataset"``,
            ``"recipe"`` or ``"command"``.
        author: for the metadata and the licence; default "The cnnreg-<name> authors".
        out: the folder in which the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        UsageError: the name or the author is invalid, the name is taken, or the folder exists.
        CnnRegistryError: the folder could not be written.
    """
    registry = current_registry()
    in_use: dict[str, Catalogue[Any] | Taken] = {
        "dataset": registry.datasets,
        "recipe": Taken("recipe", recipe_names()),
        "command": Taken("command", extensions(COMMANDS)),
    }
    check_name(name, in_use.get(template, registry.models))
    distribution = distribution_name(name)
    author = check_author(author if author is not None else f"The {distribution} authors")
    target = out / distribution
    write(render(name, template, author), target)
    return target
