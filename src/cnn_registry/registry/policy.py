"""Which distributions may provide plugins."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass

from .entries import InstalledEntry

CORE = "cnn-registry"


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
