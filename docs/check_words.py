"""Check the English of pages, docstrings, comments, messages and test names against a short list of words.

    python docs/check_words.py [PATH...]

Prints ``file:line: 'found' -> 'write this instead'`` for each match, and exits with 1 if there is one. To keep a word
on purpose, end the line with ``# words: allow: REASON``, or in Markdown with ``<!-- words: allow: REASON -->``.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

PATHS = ("*.md", "*.toml", "*.tmpl", "docs", "benchmarks", "Makefile", ".ci", "plugins", "src", "tests")
"""What is checked by default, as paths for ``git ls-files``."""

EXEMPT = ("docs/api.md", "docs/check_words.py", "tests/test_check_words.py", "tests/fixtures/")
"""Files and folders that are not checked. The API page repeats docstrings, which are checked in the sources; the tests'
fixtures stay as they were written; the others quote the words."""

SUFFIXES = (".md", ".py", ".toml", ".tmpl", ".yml", "Makefile", ".ci/run")

COMPARED = "longer|shorter|faster|slower|larger|smaller|higher|lower|sooner|later|better|worse|more|less|other"
"""What may follow after "is no"."""

WORDS = [
    (r"mend(s|ed|ing)?", "fix"),
    (r"anew", "again, from scratch"),
    (r"data( |-)sets?", "dataset"),
    (r"whole numbers?", "integer"),
    (r"no (finite )?numbers?", "NaN, not finite, not a number"),
    (rf"(?<!there\s)(is|are|was|were) no (?!({COMPARED})\b)\w+", "is not a ..."),
    (r"that (is|are) none", "that is not one, invalid"),
    (r"(is|are|was|were|be) (told|spared)", "gets, is passed, skips"),
    (r"(tells?|told) of", "report, describe"),
    (r"(is|are|was|were) said", "is printed, is documented"),
    (r"(go|goes|going|gone|went) on (with|as|at|all)", "resume, continue"),
    (r"goes? on(?! (counting|with|as|at|all)\b)", "resume, continue"),
    (r"(take|takes|taken|taking|took) up(?! to)", "resume"),
    (r"all the same", "anyway"),
    (r"in turn", "alternately, one after another"),
    (r"too(?=[.,;:)])", "also, before the verb"),
    (r"but for", "except for"),
    (r"by heart", "memorise"),
    (r"(set|sets|setting) aside", "held out"),
    (r"mak(e|es|ing) ready|made ready", "prepare"),
    (r"from [\dx]+( \w+)? on", "at least N, N or more"),
    (r"one an? (line|row|class|epoch|step|file|worker|family|model|panel|split|variable|weight)", "one per ..."),
    (r"(images|steps|photographs|bytes) an? (second|minute|step|batch|class|epoch)", "... per ..."),
    (r"time an image", "time per image"),
    (r"Of (?!course)\w+", "begin with the subject"),
]
"""Regular expressions and what to write instead. A space also matches a line break. Case counts only for ``Of``."""

ALLOW = re.compile(r"(#|<!--) words: allow(?P<reason>: *\w.*)?")

CODE = "\0"
"""Stands for what nobody reads as prose; no pattern matches it."""


class Match(NamedTuple):
    """One place that should be changed."""

    line: int
    found: str
    instead: str


def main(paths: Sequence[str]) -> int:
    """Check files, print every match, and return the exit code."""
    found = 0
    for path in files(paths or PATHS):
        for match in check(path.name, path.read_text(encoding="utf-8")):
            print(f"{path.relative_to(ROOT)}:{match.line}: {match.found!r} -> {match.instead!r}")
            found += 1
    return min(found, 1)


def files(paths: Sequence[str]) -> Iterator[Path]:
    """The files with prose that git tracks below some paths, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted(set(listed.splitlines())):
        if name.endswith(SUFFIXES) and not name.startswith(EXEMPT) and (ROOT / name).is_file():
            yield ROOT / name


def check(name: str, text: str) -> Iterator[Match]:
    """The matches in a file, in the order of its lines.

    Args:
        name: the file's name, whose suffix says how prose is found in it.
        text: its contents.
    """
    allowed = {number: found for number, line in enumerate(text.splitlines(), 1) if (found := ALLOW.search(line))}
    matches: list[Match] = []
    used: set[int] = set()
    read = prose(name, text)
    for pattern, instead in PATTERNS:
        for place in pattern.finditer(read):
            line = 1 + read.count("\n", 0, place.start())
            if line in allowed:
                used.add(line)
            else:
                matches.append(Match(line, " ".join(place[0].split()), instead))
    for line, comment in allowed.items():
        if not comment["reason"]:
            matches.append(Match(line, "words: allow", "words: allow: REASON"))
        elif line not in used:
            matches.append(Match(line, "words: allow", "nothing: this line needs no exception"))
    yield from sorted(matches)


def prose(name: str, text: str) -> str:
    """The text with everything blanked that is not prose; lines and columns stay."""
    if name.endswith((".py", ".py.tmpl")):
        return python_prose(text)
    if name.endswith((".md", ".md.tmpl")):
        # What a command prints is checked where the program has it.
        return re.sub(r"^```console\n.*?^```$", lambda block: blank(block[0]), text, flags=re.MULTILINE | re.DOTALL)
    return text.replace("#", " ")


def python_prose(text: str) -> str:
    """Strings, comments and the names of tests; whitespace stays, so that prose may go over several lines."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    read = list(blank(text))

    def keep(start: tuple[int, int], end: tuple[int, int], dropped: str) -> None:
        begin, stop = starts[start[0] - 1] + start[1], starts[end[0] - 1] + end[1]
        read[begin:stop] = re.sub(dropped, " ", text[begin:stop])

    opened: list[tuple[int, int]] = []  # f-strings are several tokens since Python 3.12
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            opened.append(token.start)
        elif kind == "FSTRING_END":
            keep(opened.pop(), token.end, r"[\"']")
        elif kind == "STRING":
            keep(token.start, token.end, r"^[a-zA-Z]+(?=[\"'])|[\"']")
        elif kind == "COMMENT":
            keep(token.start, token.end, "#")
        elif kind == "NAME" and token.string.startswith("test_"):
            keep(token.start, token.end, "_")
    return "".join(read)


def blank(text: str) -> str:
    """As many characters and lines, and nothing to read."""
    return re.sub(r"\S", CODE, text)


def compiled(words: str) -> re.Pattern[str]:
    """A pattern of `WORDS` as a regular expression over prose."""
    flags = 0 if words.startswith("Of") else re.IGNORECASE
    return re.compile(rf"\b(?:{words})(?!\w)".replace(" ", r"\s+"), flags)


PATTERNS = [(compiled(words), instead) for words, instead in WORDS]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
