"""One entry point, and one that cannot be used."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from cnn_registry.errors import BrokenPluginError

from .spec import Provider


@dataclass(frozen=True)
class InstalledEntry:
    """One entry point: a name, the object it points at, and the distribution that installed it.

    Attributes:
        name: as it is written if it is a valid name; otherwise what can be shown of it.
        value: ``module:function``, as it is written.
        distribution: the distribution's name.
        version: its version, or ``None`` where its metadata cannot be read.
        fault: what makes the entry unusable before anything is imported, or an empty string.
        is_core: whether it is one of this package's own: in a module of ours, published by a distribution of our name.
    """

    name: str
    value: str
    distribution: str
    version: str | None
    fault: str = ""
    is_core: bool = False

    @property
    def provider(self) -> Provider:
        """Where the entry comes from, as in its spec."""
        return Provider(object=self.value, distribution=self.distribution, version=self.version)

    @property
    def module(self) -> str:
        """The module that has the object."""
        return self.value.partition(":")[0]

    def is_at(self, function: object) -> bool:
        """Whether the entry points at ``function``, as far as that is known without an import."""
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
