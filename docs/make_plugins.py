"""Print ``docs/plugins.md``, an index of plugins made of their packages' metadata. ``make docs`` runs it.

    python docs/make_plugins.py [DISTRIBUTION...]

Without arguments it lists the packages in ``plugins/``; each argument adds an installed distribution, of anybody.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

PLUGINS = Path(__file__).parents[1] / "plugins"

KEYWORD = "cnn-registry-plugin"
"""The keyword by which an index of packages finds plugins."""

KINDS = {"models": "model", "datasets": "dataset", "recipes": "recipe", "commands": "command"}
"""What an entry point provides, by the last part of its group."""

SHOWN = 6
"""Names of a kind that are listed."""

HEAD = f"""# Plugins

Packages with the keyword `{KEYWORD}`; `make docs` writes this table from their metadata. `pip install NAME`
installs one, and `cnnreg list`, `datasets`, `recipes` and `doctor` show what it brings. `cnnreg doctor --outdated` says
which installed ones have newer versions.

| package | what it is | provides | licence |
|---|---|---|---|"""

FOOT = f"""
Your own package is found in the same way: `cnnreg new` writes the keyword into its `pyproject.toml`, and whoever
searches a package index for `{KEYWORD}` finds it. `python docs/make_plugins.py NAME...` prints this page with
installed packages of others, from their metadata."""


class Package(NamedTuple):
    """A package, as its metadata describes it."""

    name: str
    summary: str
    licence: str
    keywords: tuple[str, ...]
    provides: Mapping[str, Sequence[str]]


def of_project(folder: Path) -> Package:
    """The package in a folder, from its ``pyproject.toml``."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project.get("entry-points", {})
    return Package(
        project["name"],
        project["description"],
        project["license"],
        tuple(project.get("keywords", ())),
        {group.rpartition(".")[2]: sorted(names) for group, names in groups.items()},
    )


def of_installed(name: str) -> Package:
    """An installed distribution, from its metadata."""
    found = metadata.distribution(name)
    provides: dict[str, list[str]] = {}
    for entry in found.entry_points:
        group, _, kind = entry.group.rpartition(".")
        if group == "cnn_registry":
            provides.setdefault(kind, []).append(entry.name)
    facts = found.metadata
    name, summary, keywords, expression, text = (
        str((facts.get_all(field) or [""])[0])
        for field in ("Name", "Summary", "Keywords", "License-Expression", "License")
    )
    licence = expression or text.partition("\n")[0] or "unknown"
    return Package(name, summary, licence, tuple(keywords.replace(",", " ").split()), provides)


def page(distributions: Sequence[str] = ()) -> str:
    """The text of the page."""
    own = [of_project(folder) for folder in sorted(PLUGINS.glob("cnnreg-*"))]
    packages = [*own, *map(of_installed, distributions)]
    rows = [row(package, is_own=package in own) for package in packages if KEYWORD in package.keywords]
    return "\n".join([HEAD, *rows, FOOT, ""])


def row(package: Package, *, is_own: bool) -> str:
    """One package's row."""
    name = f"[{package.name}](../plugins/{package.name}/README.md)" if is_own else f"`{package.name}`"
    provides = "; ".join(
        listed(noun, package.provides[kind]) for kind, noun in KINDS.items() if kind in package.provides
    )
    cells = (name, package.summary, provides, package.licence)
    return f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in cells)} |"


def listed(noun: str, names: Sequence[str]) -> str:
    """``"2 models: `a`, `b`"``."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    count = f"{len(names)} {noun}{'s' if len(names) > 1 else ''}"
    return f"{count}: {', '.join(f'`{name}`' for name in names[:SHOWN])}{more}"


if __name__ == "__main__":
    print(page(sys.argv[1:]), end="")
