"""Recipes and commands of plugins: found, named, isolated."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry import load_recipe
from cnn_registry.errors import AmbiguousNameError, BrokenPluginError, RecipeError, UnknownNameError
from cnn_registry.recipes.load import recipe_names
from cnn_registry.recipes.resolution import resolve

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

STRONG = 'extends = "default"\nsummary = "Long"\nepochs = 300\noptimizer = "lion"\n'
COMMAND = """
import click

@click.command()
@click.argument("name")
def greet(name):
    "Greet somebody."
    click.echo(f"Hello {name}")

broken = 3
"""


def install(plugins: FakePlugins, distribution: str, group: str, entries: dict[str, str], **files: str) -> None:
    """A distribution with a package of these files, and entry points in one group."""
    module = distribution.replace("-", "_")
    info = plugins.install(distribution, source="")
    (info.parent / f"{module}.py").unlink()
    package = info.parent / module
    package.mkdir()
    for name, text in {"__init__.py": "", **files}.items():
        (package / name).write_text(text)
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[cnn_registry.{group}]", *lines, ""]))
    importlib.invalidate_caches()


def test_a_recipe_of_a_package_is_listed_extended_and_weaker_than_the_users(
    plugins: FakePlugins, cnnreg: Cnnreg, tmp_path: Path
) -> None:
    install(plugins, "acme-one", "recipes", {"strong": "acme_one:strong"}, **{"strong.toml": STRONG})
    assert "strong" in recipe_names()
    assert load_recipe("strong").epochs == 300
    (tmp_path / "mine.toml").write_text('extends = "strong"\nbatch_size = 7\n[optimizer]\nlearning_rate = 0.5\n')
    resolved = resolve(tmp_path / "mine.toml", {"strong": {"epochs": 5, "batch_size": 9}}, "net")
    recipe = resolved.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer.name) == (5, 7, "lion")
    assert (recipe.optimizer.learning_rate, recipe.optimizer.momentum) == (0.5, 0.9)
    assert resolved.origins["epochs"] == "net for strong"
    assert "acme-one 1.0" in next(line for line in cnnreg("recipes").out.splitlines() if line.startswith("strong"))


def test_two_recipes_of_one_name_need_their_distributions(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    for number, name in enumerate(["acme-three", "acme-four"], start=1):
        value = f"{name.replace('-', '_')}:strong"
        install(plugins, name, "recipes", {"strong": value}, **{"strong.toml": STRONG.replace("300", f"{number}")})
    install(plugins, "acme-five", "recipes", {"default": "acme_five:default"}, **{"default.toml": STRONG})
    with pytest.raises(AmbiguousNameError, match="acme-four"):
        load_recipe("strong")
    assert load_recipe("acme-four:strong").epochs == 2
    assert load_recipe("default").epochs == 60
    assert load_recipe("acme-five:default").epochs == 300
    shown = {row["name"] for row in json.loads(cnnreg("recipes", "--json").out)}
    assert {"default", "acme-five:default", "acme-three:strong", "acme-four:strong"} <= shown


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('extends = "strong"', RecipeError, "extends itself"),
        ('extends = "../other.toml"', RecipeError, "extends a file"),
        ('extends = "defualt"', UnknownNameError, "Did you mean 'default'"),
        ("epochs = ", RecipeError, "not valid TOML"),
        ('extends = "default"\nepoch = 3', RecipeError, "Did you mean 'epochs'"),
        (None, BrokenPluginError, "No such file"),
    ],
)
def test_a_broken_recipe_says_what_is_wrong_and_harms_no_other(
    plugins: FakePlugins, cnnreg: Cnnreg, text: str | None, error: type[Exception], words: str
) -> None:
    files = {} if text is None else {"strong.toml": text}
    install(plugins, "acme-six", "recipes", {"strong": "acme_six:strong"}, **files)
    with pytest.raises(error, match=words):
        load_recipe("strong")
    listed = cnnreg("recipes", "--json")
    assert listed.code == 0
    assert next(row for row in json.loads(listed.out) if row["name"] == "strong")["broken"].startswith("broken: ")


def test_a_command_of_a_package_is_one_of_cnnreg(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    entries = {"greet_all": "acme_seven:greet", "wrong": "acme_seven:broken", "gone": "acme_seven.nowhere:x"}
    install(plugins, "acme-seven", "commands", entries, **{"__init__.py": COMMAND})
    assert cnnreg("greet-all", "Ada").out == "Hello Ada\n"
    helped = cnnreg("--help").out
    assert "Greet somebody." in helped
    assert "broken: TypeError" in helped
    wrong = cnnreg("wrong", "--anything", "3")
    assert wrong.code == 1
    assert "is int, not a click command" in wrong.err
    assert "Did you mean 'greet-all'" in cnnreg("greet-al").err
    rows = {row["name"]: row for row in json.loads(cnnreg("doctor", "--json").out)["plugins"]}
    assert rows["greet_all"]["status"] == "ok"
    assert rows["gone"]["status"].startswith("broken: ModuleNotFoundError")
    assert "greet-all" not in cnnreg("--no-plugins", "--help").out


def test_a_group_that_is_nearly_right_is_named(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    install(plugins, "acme-eight", "recipe", {"strong": "acme_eight:strong"}, **{"strong.toml": STRONG})
    problems = json.loads(cnnreg("doctor", "--json").out)["problems"]
    assert any("'cnn_registry.recipe'" in line and "'cnn_registry.recipes'" in line for line in problems)


CHANGING = """
import io, os, sys, click
os.chdir("/")
sys.stdout = sys.stderr = io.StringIO()

@click.command()
def where():
    click.echo(os.getcwd())
"""


def test_what_an_import_changes_is_undone_and_said(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    install(plugins, "acme-one", "commands", {"where": "acme_one:where"}, **{"__init__.py": CHANGING})
    done = cnnreg("where")
    assert done.out == f"{Path.cwd()}\n"
    assert "Importing acme-one changed the standard streams and the current directory; this was undone." in (done.err)


def test_a_recipe_may_begin_with_a_byte_order_mark(plugins: FakePlugins, tmp_path: Path) -> None:
    install(plugins, "acme-one", "recipes", {"strong": "acme_one:strong"}, **{"strong.toml": "\ufeff" + STRONG})
    (tmp_path / "mine.toml").write_text('\ufeffextends = "strong"\nbatch_size = 7\n')
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.epochs, recipe.batch_size) == (300, 7)


HOSTILE = {
    "silent": "import io, sys\nsys.stdout = sys.stderr = io.StringIO()\n" + COMMAND,
    "moving": "import os\nos.chdir(os.sep)\nprint('moved')\n" + COMMAND,
    "leaving": "import sys\nsys.exit(0)\n",
    "helpless": COMMAND + "class Rude(click.Command):\n    def get_short_help_str(self, *a): raise ValueError('no')\n"
    "greet = Rude('x')\n",
    "shorthelp": COMMAND + "greet.short_help = 5\n",
    "ending": COMMAND.replace("click.echo(", "raise SystemExit(0) if name else str("),
}


def test_whatever_a_plugins_command_does_the_others_are_listed_and_run(
    plugins: FakePlugins, cnnreg: Cnnreg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {**HOSTILE, "fine": COMMAND}.items():
        install(plugins, f"acme-{name}", "commands", {name: f"acme_{name}:greet"}, **{"__init__.py": text})
    helped = cnnreg("--help")
    assert helped.code == 0
    assert Path.cwd() == tmp_path
    lines = {line.split()[0]: line for line in helped.out.splitlines() if line.startswith("  ")}
    assert all("broken: " in lines[name] for name in ("leaving", "helpless", "shorthelp"))
    assert all("Greet somebody." in lines[name] for name in ("silent", "moving", "ending", "fine"))
    assert "moved" not in helped.out
    for name in ("silent", "moving", "fine"):
        assert cnnreg(name, "Ada").out == "Hello Ada\n"
        assert Path.cwd() == tmp_path
    ended = cnnreg("ending", "Ada")
    assert (ended.code, ended.err) == (1, "Error: Code of a plugin or of yours ended the program: sys.exit(0).\n")


def test_commands_of_one_name_need_their_distributions(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    for name in ("acme-hello", "acme-hallo"):
        value = f"{name.replace('-', '_')}:greet"
        text = COMMAND.replace("Hello", name)
        install(plugins, name, "commands", {"greet_all": value, "lr_find": value}, **{"__init__.py": text})
    assert "Write 'acme-hallo:greet-all' or" in cnnreg("greet-all", "Ada").err
    assert cnnreg("acme-hallo:greet-all", "Ada").out == "acme-hallo Ada\n"
    assert cnnreg("acme_hello:lr-find", "Ada").out == "acme-hello Ada\n"
    assert "There is no command 'acme-other:greet-all'" in cnnreg("acme-other:greet-all", "Ada").err
    rows = {row["name"]: row["status"] for row in json.loads(cnnreg("doctor", "--json").out)["plugins"]}
    assert rows["lr_find"].startswith("hidden: write acme-h")
    assert rows["greet_all"].startswith("ambiguous: write acme-h")


def test_a_group_of_commands_without_one_shows_its_help(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    text = "import click\n@click.group()\ndef tools(): 'Several.'\n@tools.command()\ndef saw(): 'Saw.'\n"
    install(plugins, "acme-tools", "commands", {"tools": "acme_tools:tools"}, **{"__init__.py": text})
    ended = cnnreg("tools")
    assert ended.code == 2
    assert ended.err.startswith("Usage: cnnreg tools")
    assert "  saw  Saw." in ended.err.splitlines()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="it has no pipes")
def test_a_recipe_without_an_end_is_not_read(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    entries = {"pipe": "acme_pipes:pipe", "zero": "acme_pipes:zero"}
    install(plugins, "acme-pipes", "recipes", entries)
    package = next(folder / "acme_pipes" for folder in map(Path, sys.path) if (folder / "acme_pipes").is_dir())
    os.mkfifo(package / "pipe.toml")
    (package / "zero.toml").symlink_to("/dev/zero")
    rows = {row["name"]: row for row in json.loads(cnnreg("recipes", "--json").out)}
    assert "is not a regular file" in rows["pipe"]["broken"]
    assert "is not a regular file" in rows["zero"]["broken"]
