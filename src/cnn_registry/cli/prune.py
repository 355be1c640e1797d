"""List what takes space; choose by name what is removed, show it, ask, and remove it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import click

from cnn_registry.errors import UsageError
from cnn_registry.text import counted, suggestion

from .output import print_json, tell
from .table import Column, print_table

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


@dataclass(frozen=True)
class Listing(Generic[S]):
    """What a command lists, and removes by name.

    Attributes:
        items: by name, in the order of the table.
        noun: what one is called.
        place: where they are.
        columns: of the table.
        row: the cells of one.
        facts: of one, for ``--json``.
        remove: takes one away.
    """

    items: Mapping[str, S]
    noun: str
    place: Path
    columns: Sequence[Column]
    row: Callable[[S], list[str]]
    facts: Callable[[S], dict[str, Any]]
    remove: Callable[[S], None]


def list_or_prune(listing: Listing[S], prune: Sequence[str], *, yes: bool, wide: bool, as_json: bool) -> None:
    """Show all; or show what the patterns name, ask, and remove it.

    Raises:
        UsageError: a pattern names nothing, or nobody can be asked.
    """
    items = _matching(listing, prune) if prune else list(listing.items.values())
    if as_json and not prune:
        print_json([listing.facts(item) for item in items])
        return
    if items and not as_json:
        print_table(listing.columns, [listing.row(item) for item in items], wide=wide)
    size = megabytes(sum(item.bytes for item in items))
    if not prune:
        tell(f"{counted(len(items), listing.noun)} in {listing.place}, {size}")
    elif yes or _confirmed(f"{counted(len(items), listing.noun)}, {size}"):
        for item in items:
            listing.remove(item)
        if as_json:
            print_json([listing.facts(item) for item in items])
        else:
            tell(f"Removed {size}.")


def _matching(listing: Listing[S], patterns: Sequence[str]) -> list[S]:
    """What the patterns name.

    Raises:
        UsageError: a pattern names nothing.
    """
    chosen: dict[str, S] = {}
    for pattern in patterns:
        wanted = pattern.rstrip("/")
        exact = {wanted: listing.items[wanted]} if wanted in listing.items else {}  # a name may look like a pattern
        found = exact or {name: item for name, item in listing.items.items() if fnmatchcase(name, wanted)}
        if not found:
            raise UsageError(
                f"There is no {listing.noun} {pattern!r}.{suggestion(pattern, listing.items)} Nothing was removed."
            )
        chosen |= found
    return list(chosen.values())


def _confirmed(what: str) -> bool:
    """Whether the user wants to remove what was shown.

    Raises:
        UsageError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"Nothing was removed. To remove {what}, add --yes.")
    if click.confirm(f"Remove {what}?", err=True):
        return True
    tell("Nothing was removed.")
    return False


def megabytes(size: int) -> str:
    """``"12.3 MB"``."""
    return f"{size / 1e6:,.1f} MB"
