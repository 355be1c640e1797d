"""Entry points to specs: which plugins are installed, and what each of them declares.

Two steps. `installed` names what the entry points of a group name, and runs no plugin's code. `describe` imports one
plugin's light module and reads its spec; whatever goes wrong there stays with that one plugin.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import invalidate_caches, metadata
from typing import TypeVar

from .errors import BrokenPluginError, one_line
from .spec import API_VERSION, SPEC_ATTRIBUTE, Provider, Spec

S = TypeVar("S", bound=Spec)

MODELS = "cnn_registry.models"
DATASETS = "cnn_registry.datasets"
CORE = "cnn-registry"

loading: ContextVar[bool] = ContextVar("loading", default=False)
"""True while a plugin is imported for its entry points: what it publishes is what those name, nothing else."""


@dataclass(frozen=True)
class InstalledEntry:
    """One entry point: a name, the object it points at, and the distribution that installed it."""

    name: str
    value: str
    distribution: str
    version: str | None

    @property
    def provider(self) -> Provider:
        """Where the entry comes from, as its spec tells it."""
        return Provider(object=self.value, distribution=self.distribution, version=self.version)

    def is_at(self, function: object) -> bool:
        """Whether the entry points at ``function``, as far as can be told without an import."""
        module, _, attribute = self.value.partition(":")
        return getattr(sys.modules.get(module), attribute, None) is function


@dataclass(frozen=True)
class Broken:
    """An entry whose plugin cannot be used, and why."""

    entry: InstalledEntry
    reason: str
    details: str = field(default="", repr=False)

    def error(self, noun: str) -> BrokenPluginError:
        """The error to raise when the entry is used."""
        return BrokenPluginError(noun, self.entry.name, self.entry.distribution, self.reason, self.details)


@dataclass(frozen=True)
class Policy:
    """Which distributions may provide plugins. The core's own entries are always allowed.

    Attributes:
        allow: normalised names of the only ones allowed, or ``None`` for all.
        deny: normalised names of those that are not.
        strict: raise at the first broken plugin instead of listing it as broken.
    """

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    strict: bool = False

    @classmethod
    def from_environment(cls) -> Policy:
        """Read ``CNNREG_PLUGINS``, ``CNNREG_DISABLE_PLUGINS`` and ``CNNREG_STRICT_PLUGINS``.

        The first two are distribution names, separated by commas; empty means unset.
        """
        return cls(
            allow=_names(os.environ.get("CNNREG_PLUGINS", "")) or None,
            deny=_names(os.environ.get("CNNREG_DISABLE_PLUGINS", "")),
            strict=os.environ.get("CNNREG_STRICT_PLUGINS", "0") not in ("", "0"),
        )

    def allows(self, entry: InstalledEntry) -> bool:
        """Whether ``entry`` may be used."""
        if self.allow is None and not self.deny:
            return True
        name = normalised(entry.distribution)
        return name == CORE or (name not in self.deny and (self.allow is None or name in self.allow))


NO_PLUGINS = Policy(allow=frozenset())

_policy: ContextVar[Policy | None] = ContextVar("policy", default=None)


def use_policy(policy: Policy | None) -> None:
    """Use ``policy`` from here on; ``None`` goes back to what the environment says."""
    _policy.set(policy)


def policy() -> Policy:
    """The policy in force."""
    return _policy.get() or Policy.from_environment()


def normalised(distribution: str) -> str:
    """A distribution's name in the one spelling that compares equal (PyPA name normalisation)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _names(text: str) -> frozenset[str]:
    return frozenset(normalised(name.strip()) for name in text.split(",") if name.strip())


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
    values = dict(_section(_text(distribution, "entry_points.txt"), group))
    if not values:
        return []
    # `distribution.metadata` would parse the whole README that follows the headers.
    headers = (_text(distribution, "METADATA") or _text(distribution, "PKG-INFO")).partition("\n\n")[0]
    fields = dict(re.findall(r"^(Name|Version): *(.*\S)", headers, re.MULTILINE))
    name = fields.get("Name") or re.split("[.:]", next(iter(values.values())))[0]
    return [InstalledEntry(entry, value, name, fields.get("Version")) for entry, value in values.items()]


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
    try:
        return distribution.read_text(filename) or ""
    except Exception:  # files of any content may lie in site-packages, and none of them may stop the others
        return ""


def refresh() -> None:
    """Forget what was found: the next look-up sees plugins installed since."""
    invalidate_caches()
    _scan.cache_clear()
    _load.cache_clear()


def describe(entry: InstalledEntry, kind: type[S]) -> S | Broken:
    """Import the plugin's light module and return the spec it declares, or why it cannot be used."""
    spec = _load(entry)
    if isinstance(spec, Broken):
        return spec
    if not isinstance(spec, kind):
        return Broken(entry, f"{entry.value} declares no {kind.__name__}; decorate it with the register function.")
    if fault := _fault(entry, spec):
        return Broken(entry, fault)
    return replace(spec, provider=entry.provider)


@cache
def _load(entry: InstalledEntry) -> object:
    """What the object that the entry points at declares, or `Broken`. What fails stays failed until `refresh`."""
    if not metadata.EntryPoint.pattern.match(entry.value):
        return Broken(entry, f"its entry point is {entry.value!r}, not of the form 'module:function'.")
    token = loading.set(True)
    try:
        return getattr(metadata.EntryPoint(entry.name, entry.value, "").load(), SPEC_ATTRIBUTE, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit and the panic of an extension module are no `Exception`
        return Broken(entry, one_line(error), traceback.format_exc())
    finally:
        loading.reset(token)


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
