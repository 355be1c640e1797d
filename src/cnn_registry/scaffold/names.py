"""The names that a new plugin can have."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection
from importlib import metadata
from typing import Any, NamedTuple

from cnn_registry.errors import AmbiguousAliasError, UnknownNameError, UsageError
from cnn_registry.registry.catalogue import Ambiguous, Catalogue
from cnn_registry.registry.entries import Broken

MAX_LENGTH = 30
"""Up to this length of a name, the lines of the templates stay within the limit."""

USED = frozenset({"Path", "annotations", "click", "keras", "register_dataset", "register_model"})
"""Names that the declaring modules import; a function with such a name would hide them."""


def distribution_name(name: str) -> str:
    """The name of the distribution that provides ``name``: ``cnnreg-my-net`` for ``my_net``."""
    return f"cnnreg-{name.replace('_', '-')}"


class Taken(NamedTuple):
    """Names of what has no catalogue.

    Attributes:
        noun: what they are called in messages.
        names: those that are in use.
    """

    noun: str
    names: Collection[str]


def check_name(name: str, catalogue: Catalogue[Any] | Taken) -> None:
    """Refuse a name that a new plugin cannot have.

    Args:
        name: as the user gave it.
        catalogue: what is installed of its kind.

    Raises:
        UsageError: the name is malformed, has a meaning in Python, or is taken.
    """
    if fault := _malformed(name) or _taken(name, catalogue) or _installed(distribution_name(name)):
        raise UsageError(f"A new {catalogue.noun} cannot be named {name!r}: {fault} Choose another name.")


def check_author(author: str) -> str:
    """Return ``author`` without surrounding spaces.

    Raises:
        UsageError: it is empty, longer than 80 characters, or has characters that cannot be printed.
    """
    author = author.strip()
    if not author.isprintable() or not 0 < len(author) <= 80:
        raise UsageError(f"The author must be a name of 1 to 80 printable characters; got {author!r}.")
    return author


def _malformed(name: str) -> str:
    """Why ``name`` is not a valid name, or an empty string."""
    if not re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        return "a name has lower-case letters and digits, separated by single underscores, and begins with a letter."
    if not 2 <= len(name) <= MAX_LENGTH:
        return f"a name has 2 to {MAX_LENGTH} characters; this one has {len(name)}."
    if keyword.iskeyword(name):
        return "it is a keyword of Python."
    if name in USED or hasattr(builtins, name):
        return "the package's own code uses that name."
    return ""


def _taken(name: str, catalogue: Catalogue[Any] | Taken) -> str:
    """Which installed plugin has ``name``, or an empty string."""
    if isinstance(catalogue, Taken):
        return f"there is a {catalogue.noun} of that name." if name in catalogue.names else ""
    try:
        found = catalogue.find(name)
    except UnknownNameError:
        return ""
    except AmbiguousAliasError as error:
        return str(error)
    if isinstance(found, Ambiguous):
        return f"{' and '.join(found.providers)} provide it."
    if isinstance(found, Broken):
        return f"{found.entry.provider} provides it."
    if found.name != name:
        return f"it is an alias of {found.name!r}, which {found.provider} provides."
    return f"{found.provider} provides it."


def _installed(distribution: str) -> str:
    """The version in which a distribution is installed, as a sentence, or an empty string."""
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
    return f"the package {distribution} {version} is installed."
