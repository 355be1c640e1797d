"""Recipes that come with plugins: TOML files in their packages, named by entry points.

An entry point of the group ``cnn_registry.recipes`` is ``name = "package:file"``, for ``file.toml`` in that package.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from cnn_registry.registry.discovery import RECIPES, load_entry
from cnn_registry.registry.entries import Broken, InstalledEntry
from cnn_registry.registry.extensions import extensions, find_extension
from cnn_registry.system.files import read_regular

MAX_BYTES = 2**20
"""The largest recipe file that is read."""

SEE = "See all with: cnnreg recipes. A file's name must end in '.toml'."


def installed_recipes() -> dict[str, list[InstalledEntry]]:
    """What provides each recipe of a plugin, by name. No plugin's code runs."""
    return extensions(RECIPES)


def read_installed(name: str, built_in: Sequence[str]) -> str:
    """The text of a plugin's recipe.

    Args:
        name: its name, or ``distribution:name``.
        built_in: names of the built-in recipes, for suggestions.

    Raises:
        UnknownNameError: there is none.
        UsageError: several plugins provide it, or the named one does not.
        BrokenPluginError: its file cannot be read.
    """
    text = recipe_text(find_extension(RECIPES, "recipe", name, built_in, SEE))
    if isinstance(text, Broken):
        raise text.error("recipe")
    return text


def recipe_text(entry: InstalledEntry) -> str | Broken:
    """The text of an entry's file, or why it cannot be read."""
    return load_entry(entry, _text)


def _text(value: str) -> str:
    package, _, name = value.partition(":")
    if not name:
        raise ValueError("its entry point must be package:file, for file.toml in the package")
    file = resources.files(package) / f"{name}.toml"
    if isinstance(file, Path):
        return read_regular(file, MAX_BYTES).decode("utf-8-sig")
    with file.open("rb") as stream:  # in an archive
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name}.toml has more than {MAX_BYTES:,} bytes")
    return content.decode("utf-8-sig")
