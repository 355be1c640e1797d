"""Choose what is removed by its name, show it, ask, and remove it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

import click

from cnn_registry.errors import UsageError
from cnn_registry.text import counted, suggestion

from .output import tell

F = TypeVar("F", bound=Callable[..., Any])


class Sized(Protocol):
    """Something that takes space."""

    @property
    def bytes(self) -> int:
        """Its size."""


S = TypeVar("S", bound=Sized)


def prune_options(function: F) -> F:
    """``--prune`` and ``--yes``."""
    prune = click.option(
        "--prune", multiple=True, metavar="NAME", help="Remove what is called NAME, or matches a pattern (repeatable)."
    )
    yes = click.option("--yes", is_flag=True, help="Remove without asking.")
    return prune(yes(function))


def matching(names: dict[str, S], patterns: Sequence[str], noun: str) -> dict[str, S]:
    """What the patterns name.

    Raises:
        UsageError: a pattern names nothing.
    """
    chosen: dict[str, S] = {}
    for pattern in patterns:
        found = {name: item for name, item in names.items() if fnmatchcase(name, pattern.rstrip("/"))}
        if not found:
            raise UsageError(f"There is no {noun} {pattern!r}.{suggestion(pattern, names)} Nothing was removed.")
        chosen |= found
    return chosen


def confirmed(items: Sequence[Sized], noun: str, yes: bool) -> bool:
    """Whether the user wants to remove what was shown.

    Raises:
        UsageError: nobody can be asked.
    """
    what = f"{counted(len(items), noun)}, {megabytes(sum(item.bytes for item in items))}"
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"Nothing was removed: confirm with --yes that {what}, should go.")
    if click.confirm(f"Remove {what}?", err=True):
        return True
    tell("Nothing was removed.")
    return False


def megabytes(size: int) -> str:
    """``"12.3 MB"``."""
    return f"{size / 1e6:,.1f} MB"
