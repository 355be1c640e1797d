"""Commands that come with plugins: entry points of the group ``cnn_registry.commands``, each to a click command.

A command that cannot be imported harms no other; it is listed as broken, and says why when it is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from cnn_registry.errors import AmbiguousNameError
from cnn_registry.registry.discovery import COMMANDS, load_entry, named_by
from cnn_registry.registry.entries import Broken, InstalledEntry
from cnn_registry.registry.extensions import extensions
from cnn_registry.registry.policy import normalised


def plugin_commands(taken: Sequence[str]) -> list[str]:
    """Names of the commands of plugins, as they are typed. No plugin's code runs."""
    return [name for name in map(_typed, extensions(COMMANDS)) if name not in taken]


def find_command(name: str, taken: Sequence[str]) -> click.Command | None:
    """A plugin's command, by its name or as ``distribution:name``; ``None`` if there is none of that name."""
    distribution, _, bare = name.rpartition(":")
    found = [entry for known, found in extensions(COMMANDS).items() if _typed(known) == bare for entry in found]
    if distribution:
        found = [entry for entry in found if normalised(entry.distribution) == normalised(distribution)]
    if not found or name in taken:
        return None
    if len(found) > 1:
        error = AmbiguousNameError("command", name, [entry.distribution for entry in found])
        return _refusing(name, f"ambiguous: {', '.join(entry.distribution for entry in found)}", error)
    command = load_command(found[0])
    if isinstance(command, Broken):
        return _refusing(name, f"broken: {command.reason}", command.error("command"))
    command.name = name
    return command


def load_command(entry: InstalledEntry) -> click.Command | Broken:
    """The command of an entry, or why it cannot be used."""
    return load_entry(entry, _command)


def _command(value: str) -> click.Command:
    command = named_by(value)
    if not isinstance(command, click.Command):
        raise TypeError(f"{value} is {type(command).__name__}, not a click command")
    command.get_short_help_str()  # which "cnnreg --help" shows
    return command


def _typed(name: str) -> str:
    """A name of an entry point, as a command is typed: ``lr-find`` for ``lr_find``."""
    return name.replace("_", "-")


def _refusing(name: str, summary: str, error: Exception) -> click.Command:
    """A command that only says why it cannot be used, whatever its arguments are."""

    def refuse(**_: object) -> None:
        raise error

    arguments = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "help_option_names": []}
    return click.Command(name, settings, refuse, [arguments], short_help=summary)
