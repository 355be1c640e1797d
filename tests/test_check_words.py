"""The word list finds its words wherever somebody reads them, and nowhere else."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "check_words.py"

specification = importlib.util.spec_from_file_location("check_words", SCRIPT)
assert specification is not None
assert specification.loader is not None
check_words = importlib.util.module_from_spec(specification)
specification.loader.exec_module(check_words)


def found(name: str, text: str) -> list[tuple[int, str, str]]:
    """What the script finds in a file: line, words, what to write instead."""
    return list(check_words.check(name, text))


@pytest.mark.parametrize(
    "code",
    [
        '"""You mend it."""\n',
        "x = 1  # mend it\n",
        'print("mend it")\n',
        'print(f"mend {1 + 1}")\n',
        "x = 1; print(f'''mend\n{1}''')\n",
        "def test_mend_it() -> None: ...\n",
    ],
)
def test_a_word_is_found_in_docstrings_comments_messages_and_test_names(code: str) -> None:
    assert found("module.py", code) == [(1, "mend", "fix")]


def test_code_is_not_prose() -> None:
    assert found("module.py", "def mend(anew: int) -> int:\n    return mend(anew)\n") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("module.py", '"""One data\n    set."""\n'),
        ("module.py", "# One data\n# set.\n"),
        ("module.py", 'print("One data "\n      "set.")\n'),
        ("page.md", "One data\nset.\n"),
        ("recipe.toml", "# One data\n# set.\n"),
    ],
)
def test_words_are_found_across_a_line_break(name: str, text: str) -> None:
    assert found(name, text) == [(1, "data set", "dataset")]


@pytest.mark.parametrize("code", ['names = ["data", "set"]\n', '"""Data."""\nset()\n', "data = set()\n"])
def test_neighbours_are_not_one_phrase(code: str) -> None:
    assert found("module.py", code) == []


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The loss is no number.", ["is no number", "no number"]),
        ("The loss is no longer finite, and there is no seed that is no larger.", []),
        ("Of a float32, nothing remains.", ["Of a"]),
        ("It is of a float32. Of course it is finite.", []),
        ("Layers stay, too.", ["too"]),
        ("It is too large, too small.", []),
        ("It takes up to a second.", []),
        ("It takes up the run.", ["takes up"]),
        ("Ten images a second.", ["images a second"]),
    ],
)
def test_patterns_leave_good_sentences_alone(sentence: str, words: list[str]) -> None:
    assert [word for _, word, _ in found("page.md", sentence + "\n")] == words


def test_what_a_page_shows_of_a_console_is_not_its_prose() -> None:
    page = "```console\n$ cnnreg check\nmend it\n```\n\n```python\n# mend it\n```\n"
    assert found("page.md", page) == [(7, "mend", "fix")]


def test_an_exception_needs_a_reason_and_a_match() -> None:
    code = "# mend  # words: allow: a name\n# mend  # words: allow\n# fix  # words: allow: a name\n"
    assert found("module.py", code) == [
        (2, "words: allow", "words: allow: REASON"),
        (3, "words: allow", "nothing: this line needs no exception"),
    ]
    assert found("page.md", "mend <!-- words: allow: a name -->\n") == []


def test_the_command_checks_what_git_tracks_or_would_track(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(SCRIPT, tmp_path / "docs")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    for name in ("new.md", "ignored.md"):
        (tmp_path / name).write_text("Good.\nMend it.\n")
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    command = [sys.executable, "docs/check_words.py", "*.md"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "new.md:2: 'Mend' -> 'fix'\n")
