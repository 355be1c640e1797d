"""Lines for people: the nearest name, one line for an error, natural order, what a terminal may be shown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from unicodedata import category


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """``" Did you mean 'vgg16' or 'vgg19'?"`` for the nearest of ``candidates``, or an empty string.

    >>> suggestion("vgg_16", ["alexnet", "vgg16"])
    " Did you mean 'vgg16'?"
    """
    import difflib

    by_lower = {candidate.lower(): candidate for candidate in candidates}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if not nearest:
        return ""
    return f" Did you mean {either(by_lower[match] for match in nearest)}?"


def one_line(error: BaseException) -> str:
    """What ``error`` is and says, in one line of at most 400 characters, even if it cannot print itself."""
    try:
        text = str(error).strip()
    except Exception:
        text = "(its message cannot be printed)"
    name = type(error).__name__
    return textwrap.shorten(f"{name}: {text}" if text else name, width=400, placeholder=" ...")


def printable(text: str) -> str:
    r"""``text`` in one line: what a terminal obeys or does not show is written as an escape, ``\x1b`` for instance.

    Names of files and classes come from others, and any of them may reach a terminal. Marks that turn the direction of
    writing are escaped too, and so are bytes of a file's name that are no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or category(c) == "Zs" else c.encode("unicode_escape").decode() for c in text)


def either(names: Iterable[str]) -> str:
    """``"'a' or 'b'"``."""
    return " or ".join(repr(name) for name in names)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts ``vgg11`` before ``vgg100``, and any case alike."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
