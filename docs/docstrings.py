"""Read docstrings in Google's style: what is below their headings, and the names described there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

HEADINGS = ("Args", "Attributes", "Returns", "Raises", "Yields")
_SPLIT = re.compile(rf"^({'|'.join(HEADINGS)}):\n", re.MULTILINE)
_ITEM = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): ?")


def sections(docstring: str) -> dict[str, str]:
    """The text below each heading, dedented, by the heading; what is before the first has the key ``""``.

    Args:
        docstring: as `ast.get_docstring` gives it.
    """
    before, *rest = _SPLIT.split(docstring)
    found = {"": before.strip()}
    for heading, text in zip(rest[::2], rest[1::2], strict=True):
        lines = text.splitlines()
        end = next((number for number, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
        found[heading] = textwrap.dedent("\n".join(lines[:end])).strip()
        found[""] = "\n\n".join(filter(None, [found[""], "\n".join(lines[end:]).strip()]))
    return found


def items(section: str) -> dict[str, str]:
    """What a section of arguments, attributes or errors says about each name, in one line each."""
    return dict(_items(section))


def _items(section: str) -> Iterator[tuple[str, str]]:
    for item in re.split(r"\n(?=\S)", section):
        if named := _ITEM.match(item):
            text = " ".join(item[named.end() :].split())
            for name in named[1].split(", "):
                yield name.lstrip("*"), text


def markdown(text: str) -> str:
    """A docstring's text with its code marked as Markdown does."""
    return text.replace("``", "`")
