"""Entry points to specs: which plugins are installed, and what each of them declares.

Two steps. `Plugins.installed` names what the entry points of a group name, and runs no plugin's code.
`Plugins.describe` imports one plugin's light module and reads its spec; whatever goes wrong there stays with that one.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module, invalidate_caches, metadata
from pathlib import Path
from typing import Any, TypeVar

from cnn_registry import backend
from cnn_registry.system.stdout import stdout_to_stderr
from cnn_registry.text import one_line

from .distributions import ENTRY, entries
from .entries import Broken, InstalledEntry
from .policy import CORE, Policy, normalised
from .spec import API_VERSION, SPEC_ATTRIBUTE, Provider, Rejected, Spec

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

Stamp = tuple[int, ...] | None
"""What changes when something is installed in a folder or removed from it; ``None`` if there is no such folder."""


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


class Plugins:
    """What is installed, what was found there, and what of it was imported.

    Attributes:
        policy_in_force: the policy that takes the place of the environment's, if there is one.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy_in_force = policy
        self._folders: dict[tuple[str, str], tuple[Stamp, list[list[InstalledEntry]]]] = {}
        self._imports: dict[Provider, _Import] = {}

    @property
    def policy(self) -> Policy:
        """The policy in force, in every thread."""
        return self.policy_in_force or Policy.from_environment()

    def installed(self, group: str) -> list[InstalledEntry]:
        """The entries of ``group`` that the policy allows, in the order of ``sys.path``. No plugin's code runs."""
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
        policy = self.policy
        return [entry for published in found.values() for entry in published if policy.allows(entry)]

    def describe(self, entry: InstalledEntry, kind: type[S]) -> S | Broken:
        """Import the plugin's light module and return the spec it declares, or why it cannot be used."""
        if fault := entry.fault or self._replaced(entry):
            return Broken(entry, fault)
        if entry.provider not in self._imports:
            self._imports.setdefault(entry.provider, _import(entry))
        imported = self._imports[entry.provider]
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

    def _published(self, group: str, folder: str) -> list[list[InstalledEntry]]:
        """The entries of ``group`` in a folder of ``sys.path``, one list per distribution that has any."""
        stamp = _stamp(folder)
        known = self._folders.get((group, folder))
        if known and known[0] == stamp:
            return known[1]
        if known:
            self._forget_failures()
        found = [published for each in metadata.distributions(path=[folder]) if (published := entries(each, group))]
        self._folders[group, folder] = stamp, found
        return found

    def _forget_failures(self) -> None:
        """Let a failed import be tried again: what it needs may have been installed since."""
        invalidate_caches()
        for provider, imported in list(self._imports.items()):
            if imported.reason:
                self._imports.pop(provider, None)

    def _replaced(self, entry: InstalledEntry) -> str:
        """That another version of a plugin is imported already, or an empty string: Python keeps the old code."""
        new, module = entry.provider, entry.value.partition(":")[0]
        for old, imported in list(self._imports.items()):
            is_other = old.version != new.version and replace(old, version=None) == replace(new, version=None)
            if is_other and not imported.reason and module in sys.modules:
                return f"version {old.version} is in use and {new.version} was installed since; restart Python."
        return ""


def load_entry(entry: InstalledEntry, read: Callable[[str], T]) -> T | Broken:
    """What ``read`` makes of an entry's value, or why it cannot be used; what it prints goes to standard error.

    Args:
        entry: of a group whose entries declare nothing.
        read: gets the entry's value, and runs the plugin's code.
    """
    if entry.fault:
        return Broken(entry, entry.fault)
    try:
        with stdout_to_stderr(), backend.prepared_imports():
            return read(entry.value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in `_import`
        return Broken(entry, f"{one_line(error)}{_where(error, entry)}", traceback.format_exc())


def _stamp(folder: str) -> Stamp:
    try:
        facts = Path(folder).stat()
    except (OSError, ValueError):
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_nlink


def _import(entry: InstalledEntry) -> _Import:
    heavy = [module for module in HEAVY if module not in sys.modules]
    declared, reason, details = None, "", ""
    began = time.perf_counter()
    token = loading.set(True)
    try:
        # A declaration should not import TensorFlow. If one does, TensorFlow is set up as when we import it.
        with stdout_to_stderr(), backend.prepared_imports():
            declared = getattr(named_by(entry.value), SPEC_ATTRIBUTE, None)
            if isinstance(declared, Spec):
                declared = replace(declared, provider=entry.provider)
                declared.to_dict()  # a listing must be able to show it
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit and the panic of an extension module are no `Exception`
        reason, details = f"{one_line(error)}{_where(error, entry)}", traceback.format_exc()
    finally:
        loading.reset(token)
    seconds = time.perf_counter() - began
    return _Import(declared, seconds, tuple(module for module in heavy if module in sys.modules), reason, details)


def _where(error: BaseException, entry: InstalledEntry) -> str:
    """The line of the plugin's own code at which it failed, or an empty string."""
    where, root = "", entry.value.partition(":")[0].partition(".")[0]
    for frame, line in traceback.walk_tb(error.__traceback__):
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
