"""What plugins bring besides models and datasets, by name: recipes and commands."""

from __future__ import annotations

from collections.abc import Sequence

from cnn_registry.errors import AmbiguousNameError, UnknownNameError, UnknownProviderError
from cnn_registry.text import natural_key

from .current import current_registry
from .entries import InstalledEntry
from .policy import normalised


def extensions(group: str) -> dict[str, list[InstalledEntry]]:
    """The installed entries of a group that the policy allows, by name, naturally sorted. No plugin's code runs."""
    found: dict[str, list[InstalledEntry]] = {}
    for entry in current_registry().plugins.installed(group):
        found.setdefault(entry.name, []).append(entry)
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def find_extension(group: str, noun: str, name: str, others: Sequence[str], see: str) -> InstalledEntry:
    """The entry of ``name``, or of ``distribution:name``.

    Args:
        group: the entry-point group.
        noun: what it is called in messages.
        name: as the user wrote it.
        others: names that are not installed by plugins, for suggestions.
        see: how to see all of them, for messages.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest names.
        UnknownProviderError: that distribution does not provide it.
        AmbiguousNameError: several distributions provide it.
    """
    known = extensions(group)
    distribution, _, bare = name.rpartition(":")
    published = known.get(bare, [])
    found = [
        entry for entry in published if not distribution or normalised(entry.distribution) == normalised(distribution)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousNameError(noun, bare, [entry.distribution for entry in found])
    if published:
        raise UnknownProviderError(noun, bare, distribution, [entry.distribution for entry in published], see)
    raise UnknownNameError(noun, name, [*others, *known], see)
