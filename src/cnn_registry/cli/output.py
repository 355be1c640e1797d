"""What commands print on standard output."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cnn_registry.errors import UsageError
from cnn_registry.text import cell_width, printable, wrapped


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; ``None`` if it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def tell(text: str, *, wrap: bool = True) -> None:
    """Print one line; what a terminal would obey in a name is escaped.

    Args:
        text: the line.
        wrap: break it at spaces where the terminal is narrower; false for what is to be copied as a whole.
    """
    width = terminal_width() if wrap else None
    click.echo(wrapped(printable(text), width) if width else printable(text))


def check_new_png(path: Path, what: str) -> None:
    """Refuse a file for a picture that cannot be written as a new PNG, before work is done for it.

    Raises:
        UsageError: it has another ending, exists, or has no folder.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{what} is a PNG; expected a name that ends in .png, got {path}.")
    if path.exists():
        raise UsageError(f"{path} already exists; name another file with -o, or remove it.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}; make it first.")


def print_facts(facts: Mapping[str, str], indent: str = "") -> None:
    """Print names and values in two columns; long values go over several lines on a terminal."""
    longest = max(map(cell_width, facts))
    hanging = indent + " " * (longest + 2)
    width = terminal_width()
    for name, value in facts.items():
        line = printable(f"{indent}{name.ljust(longest)}  {value}")
        click.echo(wrapped(line, width, hanging) if width else line)


def print_json(data: Any) -> None:
    """Print ``data`` as JSON on standard output; JSON has null for numbers that are not finite."""
    click.echo(json.dumps(_finite(data), indent=2, default=str))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data
