"""The page for when something is wrong quotes what the program says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
NATIVE = ("oneDNN custom operations", "oneDNN supports", "PredictCost")
"""What TensorFlow says."""


def quotes() -> Iterator[str]:
    """The messages in the first columns of the tables: what is in backticks, commands excepted."""
    for row in re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE):
        for quote in re.findall(r"`([^`]+)`", row):
            if not any(native in quote for native in NATIVE):
                yield quote


def texts() -> Iterator[str]:
    """Every string of the program, with a gap in the place of each value."""
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.JoinedStr(values=values):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in values)
                case ast.Constant(value=str(value)):
                    yield value


@cache
def text() -> str:
    """All strings, read by the first test and not by every worker that collects it."""
    return "\n".join(texts())


def phrases(quote: str) -> list[str]:
    """Each two words in a row of a quoted message that have no value between or among them."""
    value = r"…|'[^']*'|\b[\w.]*\d[\w.,]*\b|\b[A-Z]{3,}\b|\S+/\S*|\.\w+\b|\(.*?\)"
    parts = (part.split() for part in re.split(value, quote))
    return [" ".join(words[i : i + 2]).strip(",;:.") for words in parts for i in range(len(words) - 1)]


@pytest.mark.parametrize("quote", [quote for quote in quotes() if phrases(quote)])
def test_the_program_says_what_the_page_quotes(quote: str) -> None:
    asked = phrases(quote)
    assert sum(phrase in text() for phrase in asked) >= len(asked) / 3, asked
