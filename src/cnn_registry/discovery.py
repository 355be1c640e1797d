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
from functools import cache, cached_property
from importlib import metadata

from .errors import BrokenPluginError
from .spec import API_VERSION, SPEC_ATTRIBUTE, Provider, Spec

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
    _distribution: metadata.Distribution = field(repr=False, compare=False)

    # The name and the version cost a parse of the distribution's metadata, so they are read only when asked for.
    @cached_property
    def distribution(self) -> str:
        """The distribution's name, or the imported package's where the metadata has none."""
        try:
            name = self._distribution.metadata["Name"]
        except Exception:  # metadata of any shape may lie in site-packages
            name = None
        return str(name or self.value.partition(":")[0].partition(".")[0])

    @cached_property
    def version(self) -> str | None:
        """The distribution's version, or ``None`` where the metadata has none."""
        try:
            return self._distribution.version
        except Exception:  # as above
            return None

    @property
    def provider(self) -> Provider:
        """Where the entry comes from, as its spec tells it."""
        return Provider(object=self.value, distribution=self.distribution, version=self.version)


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
    entries: dict[str, list[InstalledEntry]] = {}
    for distribution in metadata.distributions(path=list(path)):
        for entry in _entries(distribution, group):
            same_name = entries.setdefault(entry.name, [])
            # A distribution that lies twice on the path is imported from its first place, so only that one counts.
            if not any(normalised(entry.distribution) == normalised(other.distribution) for other in same_name):
                same_name.append(entry)
    return tuple(entry for same_name in entries.values() for entry in same_name)


def _entries(distribution: metadata.Distribution, group: str) -> Iterator[InstalledEntry]:
    """The entries of ``group`` in one distribution; none where its file cannot be read."""
    try:
        # Looking at the text first keeps the parser away from the many distributions that have nothing for us,
        # and a corrupt file of theirs from stopping ours.
        text = distribution.read_text("entry_points.txt") or ""
        found = distribution.entry_points.select(group=group) if group in text else ()
    except Exception:
        return
    for entry_point in found:
        yield InstalledEntry(entry_point.name, entry_point.value, distribution)


def refresh() -> None:
    """Forget what was found: the next look-up sees plugins installed since."""
    _scan.cache_clear()
    _load.cache_clear()


def describe(entry: InstalledEntry, kind: type[Spec], group: str) -> Spec | Broken:
    """Import the plugin's light module and return the spec it declares, or why it cannot be used.

    Raises:
        BrokenPluginError: the plugin is broken and the policy is strict.
    """
    loaded = _load(entry, group)
    spec = getattr(loaded, SPEC_ATTRIBUTE, None)
    if isinstance(loaded, Broken):
        result: Spec | Broken = loaded
    elif not isinstance(spec, kind):
        result = Broken(entry, f"{entry.value} declares no {kind.__name__}; decorate it with the register function.")
    elif fault := _fault(entry, spec):
        result = Broken(entry, fault)
    else:
        result = replace(spec, provider=entry.provider)
    if isinstance(result, Broken) and policy().strict:
        raise result.error(group.rpartition(".")[2].removesuffix("s"))
    return result


@cache
def _load(entry: InstalledEntry, group: str) -> object:
    """The object that the entry points at, or `Broken`. What fails once stays failed until `refresh`."""
    token = loading.set(True)
    try:
        return metadata.EntryPoint(entry.name, entry.value, group).load()
    except (Exception, SystemExit) as error:
        return Broken(entry, _reason(error), traceback.format_exc())
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


def _reason(error: BaseException) -> str:
    """One line that says what ``error`` is, even if it cannot print itself."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "(its message cannot be printed)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
