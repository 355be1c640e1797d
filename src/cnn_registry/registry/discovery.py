"""Entry points to specs: which plugins are installed, and what each of them declares.

Two steps. `installed` names what the entry points of a group name, and runs no plugin's code. `describe` imports one
plugin's light module and reads its spec; whatever goes wrong there stays with that one plugin.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from importlib import invalidate_caches, metadata
from typing import TypeVar

from cnn_registry import backend
from cnn_registry.text import one_line

from .entries import Broken, InstalledEntry
from .policy import CORE, normalised, policy
from .spec import API_VERSION, SPEC_ATTRIBUTE, Provider, Spec, name_fault

S = TypeVar("S", bound=Spec)

MODELS = "cnn_registry.models"
DATASETS = "cnn_registry.datasets"

HEAVY = ("tensorflow", "torch", "jax", "keras")
"""What takes seconds to import, and therefore has no place in a module that declares."""

SLOW = 1.0
"""Seconds from which the import of a declaring module is called slow."""

SHOWN = 64
"""Characters that are shown of what somebody else wrote."""

loading: ContextVar[bool] = ContextVar("loading", default=False)
"""True while a plugin is imported for its entry points: what it publishes is what those name, nothing else."""

_HEADER = re.compile(r"^(Name|Version): *([\w.+!-]{1,128})\s*$", re.ASCII | re.MULTILINE)


def installed(group: str) -> list[InstalledEntry]:
    """The entries of ``group`` that the policy allows, in the order of ``sys.path``. No plugin's code runs."""
    current = policy()
    return [entry for entry in _scan(group, tuple(sys.path)) if current.allows(entry)]


@cache
def _scan(group: str, path: tuple[str, ...]) -> tuple[InstalledEntry, ...]:
    found: dict[str, list[InstalledEntry]] = {}
    for distribution in metadata.distributions(path=list(path)):
        if entries := _entries(distribution, group):
            # A distribution that lies twice on the path is imported from its first place, so only that one counts.
            found.setdefault(normalised(entries[0].distribution), entries)
    return tuple(entry for entries in found.values() for entry in entries)


def _entries(distribution: metadata.Distribution, group: str) -> list[InstalledEntry]:
    """The entries of ``group`` in one distribution."""
    values: dict[str, list[str]] = {}
    for entry, value in _section(_text(distribution, "entry_points.txt"), group):
        values.setdefault(entry, []).append(value)
    if not values:
        return []
    # `distribution.metadata` would parse the whole README that follows the headers.
    headers = (_text(distribution, "METADATA") or _text(distribution, "PKG-INFO")).partition("\n\n")[0]
    fields = dict(_HEADER.findall(headers))
    name = fields.get("Name") or _shown(re.split("[.:]", next(iter(values.values()))[0])[0])
    version = fields.get("Version")
    return [
        InstalledEntry(_shown(entry), found[0], name, version, _entry_fault(entry, found))
        for entry, found in values.items()
    ]


def _entry_fault(name: str, values: Sequence[str]) -> str:
    """What makes an entry unusable, as far as its text tells it."""
    if fault := name_fault(name):
        return f"{fault}."
    if len(set(values)) > 1:
        objects = " and ".join(f"'{_shown(value)}'" for value in values)
        return f"its distribution uses the name for {objects}; rename one of them."
    if not metadata.EntryPoint.pattern.match(values[0]):
        return f"its entry point is '{_shown(values[0])}', not of the form 'module:function'."
    return ""


def _shown(text: str) -> str:
    """``text`` as it can be printed anywhere: what is no ASCII is escaped, so that look-alikes are told apart."""
    plain = ascii(text)[1:-1]
    return plain if len(plain) <= SHOWN else f"{plain[: SHOWN - 3]}..."


def _section(text: str, group: str) -> Iterator[tuple[str, str]]:
    """Names and values under ``[group]`` in the text of an ``entry_points.txt``.

    `distribution.entry_points` gives up a file for one corrupt line. Here such a line is a name without a value, which
    becomes a broken plugin, and the others stay.
    """
    section = ""
    for line in map(str.strip, text.splitlines() if group in text else ()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _text(distribution: metadata.Distribution, filename: str) -> str:
    """The text of a metadata file, as far as it is legible."""
    try:
        return distribution.read_text(filename) or ""
    except UnicodeDecodeError as error:
        return bytes(error.object).decode(errors="replace")
    except Exception:  # files of any content may lie in site-packages, and none of them may stop the others
        return ""


def refresh() -> None:
    """Forget what was found: the next look-up sees plugins installed since."""
    invalidate_caches()
    _scan.cache_clear()
    _imports.clear()


@dataclass(frozen=True)
class _Import:
    """What the import of a declared object came to.

    Attributes:
        declared: what it carries as its spec, if it could be imported; a spec knows its provider.
        seconds: how long it took.
        heavy: those of `HEAVY` that it imported.
        reason: why it failed, or an empty string.
        details: the traceback.
    """

    declared: object
    seconds: float
    heavy: tuple[str, ...]
    reason: str
    details: str


_imports: dict[Provider, _Import] = {}
"""What was imported. What fails stays failed until `refresh`."""


def describe(entry: InstalledEntry, kind: type[S]) -> S | Broken:
    """Import the plugin's light module and return the spec it declares, or why it cannot be used."""
    if entry.fault:
        return Broken(entry, entry.fault)
    if entry.provider not in _imports:
        _imports[entry.provider] = _import(entry)
    imported = _imports[entry.provider]
    if imported.reason:
        return Broken(entry, imported.reason, imported.details)
    spec = imported.declared
    if not isinstance(spec, kind):
        return Broken(entry, f"{entry.value} declares no {kind.__name__}; decorate it with the register function.")
    if fault := _fault(entry, spec):
        return Broken(entry, fault)
    return spec


def slowness(provider: Provider) -> str:
    """Why the import of a described entry is slow, or an empty string: ``"2.9 s, it imports tensorflow"``."""
    imported = _imports.get(provider)
    if not imported or (imported.seconds < SLOW and not imported.heavy):
        return ""
    imports = f", it imports {' and '.join(imported.heavy)}" if imported.heavy else ""
    return f"{imported.seconds:.1f} s{imports}"


def import_seconds(provider: Provider) -> float:
    """How long the import of a described entry took; 0 if its module had been imported before, or was not."""
    return _imports[provider].seconds if provider in _imports else 0.0


def _import(entry: InstalledEntry) -> _Import:
    backend.prepare()  # should the plugin import TensorFlow, it is set up as for us
    heavy = [module for module in HEAVY if module not in sys.modules]
    declared, reason, details = None, "", ""
    began = time.perf_counter()
    token = loading.set(True)
    try:
        with stdout_to_stderr():
            declared = getattr(metadata.EntryPoint(entry.name, entry.value, "").load(), SPEC_ATTRIBUTE, None)
            if isinstance(declared, Spec):
                declared = replace(declared, provider=entry.provider)
                declared.to_dict()  # a listing must be able to show it
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit and the panic of an extension module are no `Exception`
        reason, details = one_line(error), traceback.format_exc()
    finally:
        loading.reset(token)
    seconds = time.perf_counter() - began
    return _Import(declared, seconds, tuple(module for module in heavy if module in sys.modules), reason, details)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what somebody else's code prints: a program may be reading our standard output."""
    with redirect_stdout(sys.stderr):
        yield


def _fault(entry: InstalledEntry, spec: Spec) -> str:
    """What makes a declared ``spec`` unusable, or an empty string."""
    if spec.api_version > API_VERSION:
        return (
            f"it is written for plugin interface {spec.api_version}, this cnn_registry speaks {API_VERSION}; "
            f"upgrade {CORE}."
        )
    if spec.name != entry.name:
        return f"the entry point is named {entry.name!r} but {entry.value} declares {spec.name!r}; name them alike."
    return ""
