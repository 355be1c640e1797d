"""What installed distributions publish, read from their metadata files. No plugin's code runs.

Files of any content may lie in ``site-packages``. Whatever is wrong with one of them concerns that one alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .entries import InstalledEntry
from .policy import CORE, normalised
from .spec import name_fault

if TYPE_CHECKING:
    from importlib import metadata

SHOWN = 64
"""How many characters of foreign text are shown."""

PACKAGE = __name__.partition(".")[0]
"""The name of this package."""

ENTRY = re.compile(r"(?P<module>[\w.]+)\s*(?::\s*(?P<attribute>[\w.]+)\s*)?(?:\[.*\]\s*)?")
"""What an entry point may be: ``module:attribute``, the attribute and extras in brackets being optional."""

_HEADER = re.compile(r"(Name|Version): *([\w.+!-]{1,128})\s*", re.ASCII | re.IGNORECASE)


def entry_points(distribution: metadata.Distribution) -> str:
    """The text that lists the entry points of a distribution, or an empty string if it has none."""
    return text(distribution, "entry_points.txt")


def entries(distribution: metadata.Distribution, written: str, group: str) -> list[InstalledEntry]:
    """The entries of ``group`` in one distribution, whose `entry_points` are ``written``."""
    values: dict[str, list[str]] = {}
    for entry, value in _section(written, group):
        values.setdefault(entry, []).append(value)
    if not values:
        return []
    name, version = identity(distribution)
    own = name is not None and normalised(name) == CORE
    return [
        InstalledEntry(
            name=shown(entry),
            value=found[0],
            # Without a name, each entry goes by the package that its code is in.
            distribution=name or shown(re.split("[.:]", found[0])[0]),
            version=version,
            fault=_entry_fault(entry, found),
            is_core=own and found[0].startswith(f"{PACKAGE}."),
        )
        for entry, found in values.items()
    ]


def identity(distribution: metadata.Distribution) -> tuple[str | None, str | None]:
    """The name and the version of a distribution, ``None`` where its metadata does not give them legibly."""
    # `distribution.metadata` would parse the whole README that follows the headers.
    fields: dict[str, str] = {}
    for line in (text(distribution, "METADATA") or text(distribution, "PKG-INFO")).splitlines():
        if not line.strip():
            break
        if header := _HEADER.fullmatch(line):
            fields.setdefault(header[1].lower(), header[2])
    return fields.get("name"), fields.get("version")


def groups(distribution: metadata.Distribution) -> list[str]:
    """The names of all groups in which a distribution publishes something."""
    lines = map(str.strip, entry_points(distribution).splitlines())
    return [line.strip("[]") for line in lines if line.startswith("[")]


def shown(foreign: str) -> str:
    """``foreign`` text as it can be printed anywhere: non-ASCII letters are escaped, so that look-alikes differ."""
    plain = ascii(foreign)[1:-1]
    return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 3]}..."


def text(distribution: metadata.Distribution, filename: str) -> str:
    """The text of a metadata file, as far as it is legible."""
    try:
        return distribution.read_text(filename) or ""
    except UnicodeDecodeError as error:
        return bytes(error.object).decode(errors="replace")
    except Exception:  # a directory of that name, a file that may not be read, ...
        return ""


def _section(written: str, group: str) -> Iterator[tuple[str, str]]:
    """Names and values under ``[group]`` in the text of an ``entry_points.txt``.

    `distribution.entry_points` gives up a file for one corrupt line. Here such a line is a name without a value, which
    becomes a broken plugin, and the others stay.
    """
    section = ""
    for line in map(str.strip, written.splitlines() if group in written else ()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _entry_fault(name: str, values: Sequence[str]) -> str:
    """What makes an entry unusable, as far as its text shows it."""
    if fault := name_fault(name):
        return f"{fault}."
    if len(set(values)) > 1:
        objects = " and ".join(f"'{shown(value)}'" for value in values)
        return f"its distribution uses the name for both {objects}; rename one of them."
    if not ENTRY.fullmatch(values[0]):
        return f"its entry point is '{shown(values[0])}', not of the form 'module:function'."
    return ""
