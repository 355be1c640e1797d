"""Failures that a package's ``pyproject.toml`` expects, for ``cnnreg check`` and for pytest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.testing import CheckFailed, check_model, parametrize_with_checks

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

PROJECT = """
[project]
name = "Cnnreg_Tiny"

[project.entry-points."cnn_registry.models"]
tiny = "cnnreg_tiny:tiny"
"""


@pytest.fixture
def project(tiny: str, plugins: FakePlugins) -> Path:
    """The place of the ``pyproject.toml`` of the package of the model tiny, whose layers have no names."""
    return plugins.root / "pyproject.toml"


def expect(project: Path, text: str) -> None:
    project.write_text(f"{PROJECT}\n[tool.cnnreg.expected_failures]\n{text}\n", encoding="utf-8")


def test_an_expected_failure_is_not_a_failure(project: Path, cnnreg: Cnnreg) -> None:
    expect(project, 'tiny = {names = "Keras numbers them"}')
    ended = cnnreg("check", "tiny", "--only", "names", "--only", "spec")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "1 passed, 0 failed, 0 skipped, 1 failed as expected"
    assert "Keras numbers them" in ended.out
    results = json.loads(cnnreg("check", "tiny", "--only", "names", "--json").out)
    assert [(result["outcome"], result["message"]) for result in results] == [("expected", "Keras numbers them")]


def test_it_fails_as_soon_as_the_check_passes(project: Path) -> None:
    expect(project, 'tiny = {spec = "no paper yet"}')
    [result] = check_model("tiny", None, only=["spec"])
    assert result.line == (
        "tiny: spec failed: expected a failure (no paper yet); it passes. Remove it from the expected failures."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tinny = {names = "numbered"}', "the package does not provide 'tinny'. Did you mean 'tiny'?"),
        ('tiny = {name = "numbered"}', "there is no check 'name'. Did you mean 'names'?"),
        ("tiny = {names = true}", "the reason for tiny.names must be a text"),
        ('tiny = "names"', "must have a table for each model"),
        ("tiny = {", "cannot be read"),
    ],
)
def test_mistakes_are_refused(project: Path, text: str, message: str) -> None:
    expect(project, text)
    with pytest.raises(UsageError) as raised:
        check_model("tiny", None, only=["spec"])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_file_of_another_package_says_nothing(project: Path) -> None:
    expect(project, 'tiny = {spec = "no paper yet"}')
    project.write_text(project.read_text(encoding="utf-8").replace("Cnnreg_Tiny", "other"), encoding="utf-8")
    assert check_model("tiny", None, only=["spec"])[0].outcome == "passed"


def test_pytest_knows_them(project: Path) -> None:
    expect(project, 'tiny = {names = "Keras numbers them", spec = "no paper yet"}')
    mark = parametrize_with_checks(["tiny"], only=["spec", "names", "docstring"])
    spec, docstring, names = (parameter.values[0] for parameter in mark.args[1])
    docstring()
    with pytest.raises(pytest.xfail.Exception, match="Keras numbers them"):
        names()
    with pytest.raises(CheckFailed, match="expected a failure"):
        spec()
