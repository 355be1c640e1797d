"""A new plugin package, from its name to its folder."""

from __future__ import annotations

from pathlib import Path

from cnn_registry.registry.current import current_registry

from .names import check_author, check_name, distribution_name
from .render import render
from .write import write


def new_package(name: str, *, template: str = "plain", author: str | None = None, out: Path = Path()) -> Path:
    """Write a plugin package that can be installed and passes its own tests.

    Args:
        name: the name of the model or the dataset; its package is ``cnnreg-<name>``.
        template: the network to start from, ``"plain"``, ``"residual"`` or ``"inception"``; or ``"dataset"``.
        author: for the metadata and the licence; default "The cnnreg-<name> authors".
        out: the folder in which the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        UsageError: the name or the author is invalid, the name is taken, or the folder exists.
        CnnRegistryError: the folder could not be written.
    """
    registry = current_registry()
    check_name(name, registry.datasets if template == "dataset" else registry.models)
    distribution = distribution_name(name)
    author = check_author(author if author is not None else f"The {distribution} authors")
    target = out / distribution
    write(render(name, template, author), target)
    return target
