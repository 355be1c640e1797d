"""Which distributions may provide plugins."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .entries import InstalledEntry

CORE = "cnn-registry"
"""This package's own distribution."""


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
        """Whether ``entry`` may be used.

        A foreign distribution that names itself as the core does gains nothing by it.
        """
        if entry.is_core or (self.allow is None and not self.deny):
            return True
        name = normalised(entry.distribution)
        return name != CORE and name not in self.deny and (self.allow is None or name in self.allow)


NO_PLUGINS = Policy(allow=frozenset())


def normalised(distribution: str) -> str:
    """A distribution's name in the one spelling that compares equal (PyPA name normalisation)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _names(text: str) -> frozenset[str]:
    return frozenset(normalised(name.strip()) for name in text.split(",") if name.strip())
