"""What the plugins of an environment declare, kept between processes, so that listing them imports none.

One file of the cache per environment holds what was listed, and a stamp of everything that it came from: the folders of
``sys.path``, the metadata of each distribution in them, the modules, and what else was read while plugins were
imported. Where a stamp differs, the file counts as absent. It serves listings alone: whatever is built, trained or
checked is looked up among the installed distributions and imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from cnn_registry.errors import RunError
from cnn_registry.system.files import is_own_file, read_regular, write_file
from cnn_registry.system.paths import plugins_dir

from .entries import InstalledEntry
from .spec import ModelSpec, Provider, Spec

FORMAT = 1
"""Grows with each change of what is in the file."""

LIMIT = 64 << 20
"""Bytes of a file that are read; a thousand plugins of two models take one and a half million."""

ENVIRONMENTS = 16
"""How many files are kept."""

SETTLED = 2.0
"""Seconds since the last change after which a file's time is taken to show every further change."""

LARGEST = 2**63
"""A count that a listing shows is smaller."""

PLAIN: Mapping[str, type] = {
    "str": str,
    "int": int,
    "bool": bool,
    "None": type(None),
    "tuple": list,
    "Mapping": dict,
    "Paper": dict,
    "Provider": dict,
}
"""What JSON has for the type of a field."""

Stamp = tuple[int, ...] | None
"""What changes when a file is written, or something is added to a folder or removed; ``None`` if there is neither."""

Entries = list[tuple[InstalledEntry, Mapping[str, Any] | None]]
"""The entries of a group, in the order in which they are found, with what each declares as far as that is known."""


def stamp_of(path: str) -> Stamp:
    """The stamp of a file or a folder."""
    try:
        facts = os.stat(path or os.curdir)  # noqa: PTH116  # thousands of these are what a listing waits for
    except (OSError, ValueError):
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_nlink


@dataclass(frozen=True)
class CachedListing:
    """What was kept.

    Attributes:
        groups: the entries of each entry-point group that was listed.
        stamps: of everything that this depends on.
    """

    groups: Mapping[str, Entries] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    def entries(self, group: str) -> list[InstalledEntry] | None:
        """The entries of ``group``, or ``None`` if it was not listed."""
        return [entry for entry, _ in self.groups[group]] if group in self.groups else None

    def facts(self, group: str, kind: type[Spec]) -> dict[Provider, Mapping[str, Any]]:
        """The facts of the specs of ``group``, as far as they are known.

        Those of modules that have been imported are left out: the user may have changed them since.
        """
        types = plain_types(kind)
        return {
            entry.provider: facts
            for entry, facts in self.groups.get(group, ())
            if facts and is_plain_spec(types, facts) and facts["name"] == entry.name and entry.module not in sys.modules
        }

    def with_group(
        self, group: str, entries: Iterable[InstalledEntry], facts: Mapping[Provider, Mapping[str, Any]]
    ) -> CachedListing:
        """This with the entries of a group, of which some were described."""
        earlier = {entry.provider: known for entry, known in self.groups.get(group, ())}
        described = {provider: known for provider, known in facts.items() if _is_same_in_json(known)}
        listed = [(entry, described.get(entry.provider, earlier.get(entry.provider))) for entry in entries]
        return CachedListing({**self.groups, group: listed}, self.stamps)


def read() -> CachedListing:
    """What is kept of this environment; nothing if something has changed since, or the file cannot be used."""
    try:
        head, _, body = read_regular(_path(), LIMIT).partition(b"\n")
        if int(head, 16) != zlib.crc32(body):
            return CachedListing()
        content = json.loads(body)
        stamps = {path: None if facts is None else tuple(facts) for path, facts in content["stamps"].items()}
        is_current = content["environment"] == _environment() and {*_folders()} <= stamps.keys()
        if not is_current or any(stamp_of(path) != known for path, known in stamps.items()):
            return CachedListing()
        groups = {
            group: [(_entry(*fields), facts) for *fields, facts in listed]
            for group, listed in content["groups"].items()
        }
    except Exception:  # there is none, or it may hold anything
        return CachedListing()
    return CachedListing(groups, stamps)


class Recording:
    """Notes what plugins read while they are imported, until it is written.

    Attributes:
        folders: the stamps of the folders of ``sys.path`` when it began.
    """

    def __init__(self) -> None:
        self.folders = folder_stamps()
        self._began = time.time()
        self._read: set[str] = set()
        _listen()
        _readers.append(self._read)

    def write(self, kept: CachedListing) -> None:
        """Keep what was listed, unless something that it depends on is so new that it may still change unnoticed.

        Where nothing can be written, nothing is kept.
        """
        _readers.remove(self._read)
        paths = {*_metadata_files(), *self._read}
        paths |= {file for name, module in [*sys.modules.items()] if (file := _file(name, module))}
        stamps = {**kept.stamps, **{path: stamp_of(path) for path in sorted(paths)}, **self.folders}
        begin, end = (self._began - SETTLED) * 1e9, (time.time() + SETTLED) * 1e9
        if any(facts and begin < facts[1] < end for facts in stamps.values()) or folder_stamps() != self.folders:
            return
        groups = {group: [[*_fields(entry), facts] for entry, facts in listed] for group, listed in kept.groups.items()}
        content = {"environment": _environment(), "stamps": stamps, "groups": groups}
        body = json.dumps(content, separators=(",", ":"))
        path = _path()
        with suppress(OSError, RunError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, f"{zlib.crc32(body.encode()):08x}\n{body}")
            _remove_oldest(path.parent)


_readers: list[set[str]] = []
"""What was read, for each recording that has not ended."""


@cache
def _listen() -> None:
    """Have Python report what is read; there is no way to stop it."""
    sys.addaudithook(_note)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _readers or event not in ("open", "os.listdir", "os.scandir"):
        return
    path = arguments[0]
    if isinstance(path, str) and not path.endswith(".pyc"):  # the source's own stamp counts
        for paths in _readers:
            paths.add(str(Path(path).absolute()))


def folder_stamps() -> dict[str, Stamp]:
    """The stamps of the folders of ``sys.path``."""
    return {folder: stamp_of(folder) for folder in _folders()}


def _folders() -> list[str]:
    return list(dict.fromkeys(str(Path(folder).absolute()) for folder in sys.path))


def _environment() -> list[Any]:
    return [FORMAT, sys.version, sys.prefix, _folders()]


def _path() -> Path:
    return plugins_dir() / f"{zlib.crc32(json.dumps(_environment()).encode()):08x}.json"


def _metadata_files() -> list[str]:
    """What describes the distributions in the folders of ``sys.path``."""
    paths = []
    for folder in _folders():
        with suppress(OSError):
            for item in os.scandir(folder):
                if item.name.endswith((".dist-info", ".egg-info", ".egg")):
                    place = f"{item.path}/EGG-INFO" if item.name.endswith(".egg") else item.path
                    facts = "METADATA" if item.name.endswith(".dist-info") else "PKG-INFO"
                    paths += [place, f"{place}/entry_points.txt", f"{place}/{facts}"]
    return paths


def _file(name: str, module: object) -> str | None:
    """The file of a module that does not come with Python, whose version is known anyway."""
    is_python = name.partition(".")[0] in sys.stdlib_module_names
    return None if is_python else getattr(module, "__file__", None)


def _remove_oldest(folder: Path) -> None:
    files = [path for path in folder.iterdir() if is_own_file(path)]
    for path in sorted(files, key=lambda path: path.stat().st_mtime)[:-ENVIRONMENTS]:
        path.unlink(missing_ok=True)


def _fields(entry: InstalledEntry) -> list[object]:
    return [entry.name, entry.value, entry.distribution, entry.version, entry.fault, entry.is_core]


def _entry(name: str, value: str, distribution: str, version: str | None, fault: str, is_core: bool) -> InstalledEntry:
    texts = (name, value, distribution, "" if version is None else version, fault)
    if not all(isinstance(text, str) for text in texts) or not isinstance(is_core, bool):
        raise TypeError("the fields of an entry are texts")
    return InstalledEntry(name, value, distribution, version, fault, is_core)


def plain_types(kind: type[Spec]) -> dict[str, tuple[type, ...]]:
    """What JSON has for the fields of a spec."""
    kinds = {each.name: str(each.type).split(" | ") for each in fields(kind) if each.name != "build"}
    types = {name: tuple(PLAIN[part.partition("[")[0]] for part in parts) for name, parts in kinds.items()}
    return {**types, "total_params": (int,)} if kind is ModelSpec else types


def is_plain_spec(types: Mapping[str, tuple[type, ...]], facts: object) -> bool:
    """Whether ``facts`` have the form of what ``to_dict`` of a spec with such fields returns, read from JSON."""
    return (
        isinstance(facts, dict)
        and types.keys() <= facts.keys()
        and all(type(facts[name]) in expected for name, expected in types.items())
        and all(abs(value) < LARGEST for value in facts.values() if type(value) is int)
        and (facts["paper"] is None or "year" in facts["paper"])
        and len(facts.get("input_shape", "hwc")) == 3
    )


def _is_same_in_json(facts: Mapping[str, Any]) -> bool:
    """Whether a listing would show the same; NaN, for instance, would be another."""
    return bool(json.loads(json.dumps(facts)) == facts)
