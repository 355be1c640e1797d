"""Settings written as TOML."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

WITHOUT_NONE = re.compile(r"extends|(model|(.*\.)?options)\..*")
"""Settings of which the word ``"none"`` would be a text."""


def toml_lines(settings: Mapping[str, Any], prefix: str = "", *, dotted: bool = False) -> Iterator[str]:
    """Settings as lines of TOML, with the dotted keys that ``--set`` takes.

    TOML has no value for ``None``. Recipes read the word ``"none"`` as one, except among options, where it may be a
    text: there, the line is a comment.
    """
    for name, value in settings.items():
        key = prefix + (name if dotted else _key(name))
        if value is None:
            yield f"# {key} = none" if WITHOUT_NONE.fullmatch(key) else f'{key} = "none"'
        elif isinstance(value, Mapping) and value:
            yield from toml_lines(value, f"{key}.")
        else:
            yield f"{key} = {toml_value(value)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """A value in TOML, whose strings and finite numbers are JSON's; of another type than TOML's, its text."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {toml_value(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
