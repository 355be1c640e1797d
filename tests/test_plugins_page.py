"""The index of plugins is made of their packages' metadata."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.scripts import script

ROOT = Path(__file__).parents[1]
KEYWORD = "cnn-registry-plugin"


def test_every_plugin_has_the_keyword_and_a_row() -> None:
    make = script("docs.make_plugins")
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert page == make.page()
    for folder in (ROOT / "plugins").glob("cnnreg-*/pyproject.toml"):
        project = tomllib.loads(folder.read_text(encoding="utf-8"))["project"]
        assert KEYWORD in project["keywords"], folder
        assert f"| [{project['name']}](" in page


def test_installed_packages_of_others_are_added() -> None:
    make = script("docs.make_plugins")
    found = make.of_installed("cnn-registry")
    assert {"digits", "oxflower17"} <= set(found.provides["datasets"])
    row = make.row(make.Package("x", "a | b", "MIT", (KEYWORD,), {"models": ["m"], "other": ["n"]}), is_own=False)
    assert row == "| `x` | a / b | 1 model: `m` | MIT |"
    with pytest.raises(ModuleNotFoundError):
        make.of_installed("no-such-package")
