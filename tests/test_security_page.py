"""Every defence that SECURITY.md claims has its test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_each_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 10
    for file, test in named:
        assert f"def {test or 'test_'}" in (ROOT / file).read_text(encoding="utf-8")
    hostile = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_hostile_*.py")}
    assert hostile <= {file for file, _ in named}
