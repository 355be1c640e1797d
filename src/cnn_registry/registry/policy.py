"""Which distributions may provide plugins."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from cnn_registry.errors import UsageError
from cnn_registry.text import quoted

from .entries import InstalledEntry

ALLOW, DENY, STRICT = "CNNREG_PLUGINS", "CNNREG_DISABLE_PLUGINS", "CNNREG_STRICT_PLUGINS"
"""The environment's variables."""

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

        The first two are distribution names, separated by commas; empty means unset. The third is 0 or 1.

        Raises:
            UsageError: a variable has another value, which would allow what it is meant to forbid.
        """
        strict = os.environ.get(STRICT, "").lower()
        if strict not in (*_YES, *_NO):
            raise UsageError(f"{STRICT} must be 0 or 1; got {quoted(os.environ[STRICT])}.")
        return cls(allow=_names(ALLOW) or None, deny=_names(DENY), strict=strict in _YES)

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


_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def _names(variable: str) -> frozenset[str]:
    names = [name.strip() for name in os.environ.get(variable, "").split(",")]
    for name in filter(None, names):
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise UsageError(
                f"{variable} must be names of distributions, separated by commas; got {quoted(name)}. To use no "
                f"plugins at all: --no-plugins"
            )
    return frozenset(map(normalised, filter(None, names)))
