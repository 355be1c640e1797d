"""Counts and lists of names, as messages have them."""

from __future__ import annotations

from collections.abc import Iterable


def counted(count: int, noun: str) -> str:
    """``"1 class"``, ``"2 classes"``, ``"1,000 images"``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def listing(names: Iterable[str], at_most: int = 10) -> str:
    """Names in quotes, the first of them."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:at_most])
    return shown + (f" and {len(names) - at_most:,} more" if len(names) > at_most else "")
