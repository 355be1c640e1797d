"""The files of results, and how the page shows where they come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Facts = dict[str, Any]


def read(path: Path) -> Facts | None:
    """One file of results, or ``None`` if it does not exist."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_all(folder: Path) -> list[Facts]:
    """All files of results in a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def conditions(facts: Facts) -> str:
    """How and where something was measured."""
    loads, cpus = facts["load_average"], facts["machine"]["cpus"]
    return (
        f"*`{facts['command']}`, {facts['date'][:10]}; load average {loads['start']} at the start, {loads['end']} at "
        f"the end (more than {cpus}: the machine was shared). {place(facts)}*\n"
    )


def place(facts: Facts) -> str:
    """A machine, its versions and its flags."""
    machine = facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    flags = "; ".join(
        " ".join([f"{side}:", *(f"{name}={value}" for name, value in given.items())])
        for side, given in facts["flags"].items()
    )
    return (
        f"{machine['cpus']} cores of {machine['processor']}, {machine['memory'] / 2**30:.0f} GiB; {versions}; "
        f"flags: {flags}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def write(figure: Figure, path: Path) -> None:
    """Write a plot; the same data give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})
