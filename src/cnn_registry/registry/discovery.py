"""Entry points to specs: which plugins are installed, and what each of them declares.

Two steps. `Plugins.installed` names what the entry points of a group name, and runs no plugin's code.
`Plugins.describe` imports one plugin's light module and reads its spec; whatever goes wrong there stays with that one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import reduce
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnn_registry.system.isolation import isolated
from cnn_registry.system.progress import working
from cnn_registry.text import one_line

from .distributions import ENTRY, entries, entry_points
from .entries import Broken, InstalledEntry
from .listing_cache import CachedListing, Recording, Stamp, folder_stamps, read, stamp_of
from .policy import CORE, Policy, normalised
from .spec import API_VERSION, SPEC_ATTRIBUTE, Provider, Rejected, Spec

if TYPE_CHECKING:
    from importlib.metadata import Distribution

S = TypeVar("S", bound=Spec)
T = TypeVar("T")

MODELS = "cnn_registry.models"
DATASETS = "cnn_registry.datasets"
RECIPES = "cnn_registry.recipes"
COMMANDS = "cnn_registry.commands"
GROUPS = (MODELS, DATASETS, RECIPES, COMMANDS)
"""The entry-point groups that are read."""

HEAVY = ("tensorflow", "torch", "jax", "keras")
"""What takes seconds to import, and therefore has no place in a module that declares."""

SLOW = 1.0
"""Seconds after which the import of a declaring module is called slow."""

loading: ContextVar[bool] = ContextVar("loading", default=False)
"""True while a plugin is imported for its entry points: what it publishes is what those name, nothing else."""


@dataclass(frozen=True)
class _Import:
    """The outcome of importing a declared object.

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


@dataclass(frozen=True)
class _Folder:
    """What is installed in a folder of ``sys.path``.

    Attributes:
        stamp: that of the folder when it was read.
        distributions: those that have entry points, and the text that lists them.
        published: the entries of the groups that were asked for, one list per distribution that has any.
    """

    stamp: Stamp
    distributions: list[tuple[Distribution, str]]
    published: dict[str, list[list[InstalledEntry]]] = field(default_factory=dict)


class Plugins:
    """What is installed, what was found there, and what of it was imported.

    Attributes:
        policy_in_force: the policy that takes the place of the environment's, if there is one.
        keeps: whether what is listed is kept for later processes; default false. It is for a process that imports
            plugins only to list them: in another one, a plugin's file may have changed since it was imported.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy_in_force = policy
        self.keeps = False
        self._folders: dict[str, _Folder] = {}
        self._imports: dict[Provider, _Import] = {}
        self._kept: tuple[dict[str, Stamp], CachedListing] | None = None
        self._recording: Recording | None = None

    @property
    def policy(self) -> Policy:
        """The policy in force, in every thread."""
        return self.policy_in_force or Policy.from_environment()

    def installed(self, group: str) -> list[InstalledEntry]:
        """The entries of ``group`` that the policy allows, in the order of ``sys.path``. No plugin's code runs."""
        return self._allowed(self.found(group))

    def named(self, group: str) -> list[InstalledEntry]:
        """As `installed`, for showing: what an earlier process found, where nothing has changed since."""
        kept = self._still_kept().entries(group)
        return self.installed(group) if kept is None else self._allowed(kept)

    def listed(self, group: str, kind: type[Spec]) -> tuple[list[InstalledEntry], dict[Provider, Mapping[str, Any]]]:
        """As `named`, with the facts of the specs that an earlier process read."""
        kept = self._still_kept()
        facts = kept.facts(group, kind)
        entries = self._allowed(kept.entries(group) or [])
        if entries and all(entry.provider in facts for entry in entries):
            return entries, facts
        if self.keeps and self._recording is None:
            self._recording = Recording()
        return self.installed(group), facts  # what is imported is looked up, and is not what a file says

    def keep(self, group: str, facts: Mapping[Provider, Mapping[str, Any]]) -> None:
        """Keep the facts of specs that were listed, unless an import was slow: each listing warns of that."""
        if self._recording is None or any(map(self.slowness, self._imports)):
            return
        earlier = self._still_kept()
        kept = earlier.with_group(group, self.found(group), facts)
        if kept.groups != earlier.groups:
            self._recording.write(kept)
            self._kept, self._recording = (self._recording.folders, kept), None

    def _still_kept(self) -> CachedListing:
        """What earlier processes kept, until something is installed or removed."""
        stamps = folder_stamps()
        if self._kept is None:
            self._kept = stamps, read()
        elif self._kept[0] != stamps:
            self._kept = stamps, CachedListing()
        return self._kept[1]

    def _allowed(self, entries: Iterable[InstalledEntry]) -> list[InstalledEntry]:
        policy = self.policy
        return [entry for entry in entries if policy.allows(entry)]

    def found(self, group: str) -> list[InstalledEntry]:
        """As `installed`, whatever the policy allows."""
        found: dict[object, list[InstalledEntry]] = {}
        for folder in dict.fromkeys(map(str, sys.path)):
            for published in self._published(group, folder):
                # A distribution that lies twice on the path is imported from its first place, so only that one counts.
                # The core's entries do not depend on their order: a foreign distribution of its name hides none.
                foreign = [entry for entry in published if not entry.is_core]
                found.setdefault(normalised(published[0].distribution), foreign)
                for entry in published:
                    if entry.is_core:
                        found.setdefault((entry.name, entry.value), [entry])
        return [entry for published in found.values() for entry in published]

    def describe(self, entry: InstalledEntry, kind: type[S]) -> S | Broken:
        """Import the plugin's light module and return the spec it declares, or why it cannot be used."""
        if fault := entry.fault or self._replaced(entry):
            return Broken(entry, fault)
        imported = self._imports.get(entry.provider) or self._imports.setdefault(entry.provider, _import(entry))
        spec = imported.declared
        if imported.reason:
            return Broken(entry, imported.reason, imported.details)
        if isinstance(spec, Rejected):
            return Broken(entry, spec.reason)
        if not isinstance(spec, kind):
            return Broken(entry, f"{entry.value} declares no {kind.__name__}; decorate it with the register function.")
        if mismatch := _mismatch(entry, spec):
            return Broken(entry, mismatch)
        return spec

    def slowness(self, provider: Provider) -> str:
        """Why the import of a described entry is slow, or an empty string: ``"2.9 s, it imports tensorflow"``."""
        imported = self._imports.get(provider)
        if not imported or (imported.seconds < SLOW and not imported.heavy):
            return ""
        imports = f", it imports {' and '.join(imported.heavy)}" if imported.heavy else ""
        return f"{imported.seconds:.1f} s{imports}"

    def import_seconds(self, provider: Provider) -> float:
        """How long the import of a described entry took; 0 if its module had been imported before, or was not."""
        return self._imports[provider].seconds if provider in self._imports else 0.0

    def refresh(self) -> None:
        """Forget what was found and imported: every plugin is looked at again."""
        invalidate_caches()
        self._folders.clear()
        self._imports.clear()
        self._kept = folder_stamps(), CachedListing()

    def _published(self, group: str, folder: str) -> list[list[InstalledEntry]]:
        """The entries of ``group`` in a folder of ``sys.path``, one list per distribution that has any."""
        from importlib import metadata

        latest = stamp_of(folder)
        known = self._folders.get(folder)
        if known is None or known.stamp != latest:
            if known:
                self._forget_failures()
            installed = [(each, entry_points(each)) for each in metadata.distributions(path=[folder])]
            known = self._folders[folder] = _Folder(latest, [each for each in installed if each[1]])
        if group not in known.published:
            each_has = [entries(distribution, written, group) for distribution, written in known.distributions]
            known.published[group] = [published for published in each_has if published]
        return known.published[group]

    def _forget_failures(self) -> None:
        """Let a failed import be tried again: what it needs may have been installed since."""
        invalidate_caches()
        for provider, imported in list(self._imports.items()):
            if imported.reason:
                self._imports.pop(provider, None)

    def _replaced(self, entry: InstalledEntry) -> str:
        """That another version of a plugin is imported already, or an empty string: Python keeps the old code."""
        new, module = entry.provider, entry.module
        for old, imported in list(self._imports.items()):
            is_other = old.version != new.version and replace(old, version=None) == replace(new, version=None)
            if is_other and not imported.reason and module in sys.modules:
                return f"version {old.version} is in use and {new.version} was installed since; restart Python."
        return ""


def load_entry(entry: InstalledEntry, load: Callable[[str], T]) -> T | Broken:
    """What ``load`` makes of an entry's value, or why it cannot be used; what it prints goes to standard error.

    Args:
        entry: of a group whose entries declare nothing.
        load: gets the entry's value, and runs the plugin's code.
    """
    if entry.fault:
        return Broken(entry, entry.fault)
    try:
        with _importing(entry):
            return load(entry.value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in `_import`
        return Broken(entry, f"{one_line(error)}{_where(error, entry)}", _traceback())


def _import(entry: InstalledEntry) -> _Import:
    heavy = [module for module in HEAVY if module not in sys.modules]
    declared, reason, details = None, "", ""
    began = time.perf_counter()
    token = loading.set(True)
    try:
        with _importing(entry):
            declared = getattr(named_by(entry.value), SPEC_ATTRIBUTE, None)
            if isinstance(declared, Spec):
                declared = replace(declared, provider=entry.provider)
                declared.to_dict()  # a listing must be able to show it
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit and the panic of an extension module are no `Exception`
        reason, details = f"{one_line(error)}{_where(error, entry)}", _traceback()
    finally:
        loading.reset(token)
    seconds = time.perf_counter() - began
    return _Import(declared, seconds, tuple(module for module in heavy if module in sys.modules), reason, details)


@contextmanager
def _importing(entry: InstalledEntry) -> Iterator[None]:
    """Within it a plugin's code is imported: what it prints goes to standard error, and what it changes is restored.

    A declaration should not import TensorFlow. If one does, TensorFlow is set up as when we import it.
    """
    from cnn_registry import backend

    with (
        working(f"Importing {entry.distribution}"),
        isolated(f"Importing {entry.distribution}", environment=True),
        backend.prepared_imports(),
    ):
        yield


def _traceback() -> str:
    from traceback import format_exc

    return format_exc()


def _where(error: BaseException, entry: InstalledEntry) -> str:
    """The line of the plugin's own code at which it failed, or an empty string."""
    from traceback import walk_tb

    where, root = "", entry.value.partition(":")[0].partition(".")[0]
    for frame, line in walk_tb(error.__traceback__):
        parts = Path(frame.f_code.co_filename).parts
        if root in parts or f"{root}.py" in parts:
            first = parts.index(root if root in parts else f"{root}.py")
            where = f" ({'/'.join(parts[first:])}, line {line})"
    return where


def named_by(value: str) -> Any:
    """What an entry point's value names."""
    match = ENTRY.fullmatch(value)
    assert match, "others have a fault"
    module = import_module(match["module"])
    return reduce(getattr, match["attribute"].split("."), module) if match["attribute"] else module


def _mismatch(entry: InstalledEntry, spec: Spec) -> str:
    """What keeps a declared ``spec`` from being used as ``entry``, or an empty string."""
    if spec.api_version > API_VERSION:
        return (
            f"it is written for plugin interface {spec.api_version}; this version supports {API_VERSION}. "
            f"Upgrade {CORE}."
        )
    if spec.name != entry.name:
        return f"the entry point is named {entry.name!r} but {entry.value} declares {spec.name!r}; name them alike."
    return ""
