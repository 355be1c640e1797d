"""What the templates make of a name: green at once, whatever the name."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cnn_registry import __version__
from cnn_registry.scaffold.new import new_package
from cnn_registry.scaffold.render import LAYERS, core_requirement, render

SHORT, LONG = "my", "long_name_of_thirty_characters"
AUTHOR = r'Zoë "Z" O\'Neil $name'


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every template's package, under a short and a long name."""
    folder = tmp_path_factory.mktemp("packages")
    for template in LAYERS:
        for name in (f"{SHORT}_{template}", LONG[: -len(template)] + template):
            new_package(name, template=template, author=AUTHOR, out=folder)
    return folder


def checked(*command: object, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_longest_name_is_among_them(packages: Path) -> None:
    assert sorted(len(folder.name) for folder in packages.iterdir())[-len(LAYERS) :] == [len("cnnreg-") + 30] * len(
        LAYERS
    )


def test_every_package_is_clean_and_formatted(packages: Path) -> None:
    for folder in packages.iterdir():
        checked("ruff", "check", cwd=folder)
        checked("ruff", "format", "--check", cwd=folder)


@pytest.mark.slow
def test_types_are_right(packages: Path, tmp_path: Path) -> None:
    """All in one run, with the settings of one: they are the same in each."""
    settings = (next(packages.iterdir()) / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(settings)["tool"]["mypy"]["strict"]
    config = tmp_path / "mypy.toml"
    config.write_text(settings + Path(__file__).with_name("libraries.toml").read_text(encoding="utf-8"), "utf-8")
    checked("mypy", "--config-file", config, *packages.glob("*/src/*"), cwd=packages)


@pytest.mark.parametrize("template", LAYERS)
def test_the_files_of_a_package(template: str) -> None:
    files = render("my_net", template, AUTHOR)
    inner = {"dataset": ["_load.py"], "recipe": ["my_net.toml"], "command": []}.get(template, ["_network.py"])
    assert sorted(files) == sorted(
        [
            ".github/workflows/tests.yml",
            ".gitignore",
            "LICENSE",
            "README.md",
            "pyproject.toml",
            "src/cnnreg_my_net/__init__.py",
            *(f"src/cnnreg_my_net/{name}" for name in inner),
            "src/cnnreg_my_net/py.typed",
            "tests/test_my_net.py",
        ]
    )
    assert all(text.endswith("\n") for path, text in files.items() if not path.endswith("py.typed"))
    assert "${{ matrix.python-version }}" in files[".github/workflows/tests.yml"]
    assert f"Copyright (c) {date.today().year} {AUTHOR}\n" in files["LICENSE"]


@pytest.mark.parametrize(
    ("template", "group"),
    [("plain", "models"), ("dataset", "datasets"), ("recipe", "recipes"), ("command", "commands")],
)
def test_the_metadata(template: str, group: str) -> None:
    project = tomllib.loads(render("my_net", template, AUTHOR)["pyproject.toml"])["project"]
    assert project["name"] == "cnnreg-my-net"
    assert project["entry-points"] == {f"cnn_registry.{group}": {"my_net": "cnnreg_my_net:my_net"}}
    assert project["authors"] == [{"name": AUTHOR}]
    assert project["license"] == "MIT"
    assert project["dependencies"] == [core_requirement(__version__)]


@pytest.mark.parametrize(
    ("version", "required"),
    [
        ("0.1.0", "cnn-registry>=0.1.0,<0.2"),
        ("0.9.4", "cnn-registry>=0.9.4,<0.10"),
        ("1.4.2", "cnn-registry>=1.4.2,<2"),
        ("2", "cnn-registry>=2,<3"),
        ("0.2.0rc1", "cnn-registry>=0.2.0rc1,<0.3"),
        ("0.2.0.dev3+gabc.d2026", "cnn-registry>=0.2.0.dev3,<0.3"),
    ],
)
def test_what_a_package_requires_admits_the_version_it_was_made_with(version: str, required: str) -> None:
    assert core_requirement(version) == required
    assert Requirement(required).specifier.contains(version, prereleases=True)
