"""From a name to a spec, for models and datasets alike.

A catalogue joins what installed plugins publish with what was registered in this session. It says which names there
are and what each of them means, and answers an unknown name with the nearest ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from cnn_registry.errors import (
    AmbiguousAliasError,
    AmbiguousNameError,
    DuplicateNameError,
    UnknownNameError,
    UnknownProviderError,
)
from cnn_registry.system.callers import warn_caller
from cnn_registry.text import natural_key

from .discovery import Plugins, loading
from .entries import Broken, InstalledEntry
from .policy import normalised
from .spec import API_VERSION, SPEC_ATTRIBUTE, Provider, Spec

SESSION = "session"
"""The distribution in ``distribution:name`` of something registered in this session."""

S = TypeVar("S", bound=Spec)
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Listed:
    """A spec as it is listed.

    Attributes:
        provider: where it comes from.
        facts: the spec as JSON-ready data.
    """

    provider: Provider
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Ambiguous:
    """A name that several distributions provide."""

    name: str
    providers: tuple[str, ...]


@dataclass(frozen=True)
class _Registration(Generic[S]):
    spec: S
    place: str
    replaces: bool


class Catalogue(Generic[S]):
    """The specs of one kind.

    Args:
        plugins: what is installed.
        group: the entry-point group.
        kind: the class of its specs.
        noun: what one of them is called in messages.
        see: how to see all of them, for messages.
    """

    def __init__(self, plugins: Plugins, group: str, kind: type[S], noun: str, see: str) -> None:
        self.plugins, self.group, self.kind, self.noun, self.see = plugins, group, kind, noun, see
        self._session: dict[str, _Registration[S]] = {}

    def register(self, function: F, spec: S, *, replace: bool) -> F:
        """Declare ``function`` by ``spec``; outside a plugin's import it can then be used in this session.

        Raises:
            DuplicateNameError: the name was registered in this session before, and ``replace`` is false.
        """
        setattr(function, SPEC_ATTRIBUTE, spec)
        if loading.get():
            return function
        place = _place(function)
        earlier = self._session.get(spec.name)
        if earlier and not replace:
            raise DuplicateNameError(self.noun, spec.name, earlier.place, place)
        self._session[spec.name] = _Registration(spec, place, replace)
        return function

    def names(self, pattern: str | None = None) -> list[str]:
        """All names, naturally sorted, that match the shell-style ``pattern``. No plugin's code runs."""
        names = {entry.name for entry in self.plugins.named(self.group)} | self._session.keys()
        return _matching(names, pattern)

    def describe(self, pattern: str | None = None) -> list[S | Broken | Ambiguous]:
        """Everything that `names` lists, each as its spec, as broken, or as ambiguous.

        Raises:
            BrokenPluginError: a plugin cannot be used, and the policy is strict.
        """
        choices = self._choices(self.plugins.installed(self.group))
        return [self._describe_name(name, choices[name]) for name in _matching(choices, pattern)]

    def listing(self, pattern: str | None = None) -> list[Listed | Broken | Ambiguous]:
        """As `describe`, for showing: no plugin is imported that an earlier process listed and that has not changed.

        Raises:
            BrokenPluginError: as `describe`.
        """
        entries, kept = self.plugins.listed(self.group, self.kind)
        choices = self._choices(entries)
        found = [self._list_name(name, choices[name], kept) for name in _matching(choices, pattern)]
        self.plugins.keep(self.group, {item.provider: item.facts for item in found if isinstance(item, Listed)})
        return found

    def get(self, name: str) -> S:
        """The spec of ``name``: a name, an alias, or ``distribution:name``.

        Raises:
            UnknownNameError: nothing has this name; the message suggests the nearest names.
            AmbiguousNameError: several distributions provide the name.
            AmbiguousAliasError: it is an alias of several.
            BrokenPluginError: the plugin that provides it cannot be used.
        """
        spec = self._resolve(name)
        if spec.deprecated:
            warn_caller(f"The {self.noun} {spec.name!r} is deprecated; use {spec.deprecated!r}.", FutureWarning)
        elif name in spec.deprecated_aliases:
            warn_caller(f"The {self.noun} name {name!r} is deprecated; use {spec.name!r}.", FutureWarning)
        if spec.api_version < API_VERSION:
            warn_caller(
                f"The {self.noun} {spec.name!r} of {spec.provider} is written for plugin interface {spec.api_version}; "
                f"this version supports {API_VERSION}. Upgrading its package may help.",
                FutureWarning,
            )
        return spec

    def find(self, name: str) -> S | Broken | Ambiguous:
        """As `get`, but a broken or an ambiguous entry is returned instead of raised, and there is no warning."""
        distribution, _, bare = name.rpartition(":")
        published = self._choices(self.plugins.installed(self.group)).get(bare, [])
        choices = [choice for choice in published if not distribution or _provided_by(choice, distribution)]
        if choices:
            return self._describe_name(bare, choices)
        if published:
            providers = [_provider_name(choice) for choice in published]
            raise UnknownProviderError(self.noun, bare, distribution, providers, self.see)
        if not distribution and (spec := self._by_alias(bare)):
            return spec
        raise UnknownNameError(self.noun, bare, self.names(), self.see)

    def _resolve(self, name: str) -> S:
        found = self.find(name)
        if isinstance(found, Broken):
            raise found.error(self.noun)
        if isinstance(found, Ambiguous):
            raise AmbiguousNameError(self.noun, found.name, found.providers)
        return found

    def _choices(self, entries: Iterable[InstalledEntry]) -> dict[str, list[InstalledEntry | S]]:
        """What provides each name: installed entries, and what was registered in this session."""
        choices: dict[str, list[InstalledEntry | S]] = {}
        for entry in entries:
            choices.setdefault(entry.name, []).append(entry)
        for name, registration in self._session.items():
            published = [entry for entry in choices.get(name, []) if isinstance(entry, InstalledEntry)]
            if registration.replaces:
                choices[name] = [registration.spec]
            # A plugin that the user imported has registered what its entry point names anyway.
            elif not any(entry.is_at(registration.spec.build) for entry in published):
                choices[name] = [*published, registration.spec]
        return choices

    def _list_name(
        self, name: str, choices: list[InstalledEntry | S], kept: Mapping[Provider, Mapping[str, Any]]
    ) -> Listed | Broken | Ambiguous:
        provider = choices[0].provider
        if len(choices) == 1 and provider in kept:
            return Listed(provider, kept[provider])
        described = self._describe_name(name, choices)
        if isinstance(described, Broken | Ambiguous):
            return described
        return Listed(described.provider, described.to_dict())

    def _describe_name(self, name: str, choices: list[InstalledEntry | S]) -> S | Broken | Ambiguous:
        if len(choices) > 1:
            return Ambiguous(name, tuple(_provider_name(choice) for choice in choices))
        choice = choices[0]
        if not isinstance(choice, InstalledEntry):
            return choice
        described = self.plugins.describe(choice, self.kind)
        if isinstance(described, Broken) and self.plugins.policy.strict:
            raise described.error(self.noun)
        return described

    def _by_alias(self, alias: str) -> S | Broken | Ambiguous | None:
        names = [name for item in self.listing() for name, aliases in self._with_aliases(item) if alias in aliases]
        if len(names) > 1:
            raise AmbiguousAliasError(self.noun, alias, names)
        return self.find(names[0]) if names else None

    def _with_aliases(self, item: Listed | Broken | Ambiguous) -> Iterator[tuple[str, tuple[str, ...]]]:
        """What finds an item, with its aliases: its name, or where that is ambiguous each ``distribution:name``."""
        if isinstance(item, Listed):
            yield item.facts["name"], (*item.facts["aliases"], *item.facts["deprecated_aliases"])
        elif isinstance(item, Ambiguous):
            for name in (f"{provider}:{item.name}" for provider in item.providers):
                spec = self.find(name)
                if isinstance(spec, Spec):
                    yield name, (*spec.aliases, *spec.deprecated_aliases)


def _matching(names: Iterable[str], pattern: str | None) -> list[str]:
    """The names that match a pattern, naturally sorted."""
    return sorted(sorted(name for name in names if fnmatchcase(name, pattern or "*")), key=natural_key)


def _provider_name(choice: InstalledEntry | Spec) -> str:
    return choice.distribution if isinstance(choice, InstalledEntry) else SESSION


def _provided_by(choice: InstalledEntry | Spec, distribution: str) -> bool:
    return normalised(_provider_name(choice)) == normalised(distribution)


def _place(function: Callable[..., object]) -> str:
    code = getattr(function, "__code__", None)
    name = f"{function.__module__}:{getattr(function, '__qualname__', function)}"
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
