"""The site's pages: all are in its navigation, links lead to pages, and the commands on them exist."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from cnn_registry.cli.app import cnnreg as group
from cnn_registry.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    """A script of ``website/``, as a module."""
    spec = importlib.util.spec_from_file_location(f"website_{name}", ROOT / "website" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages, without the gallery."""
    folder = tmp_path_factory.mktemp("site") / "website"
    script("prepare").main(folder)
    return folder


def test_every_page_is_in_the_navigation_once(pages: Path) -> None:
    navigation = (pages.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"([\w./-]+\.md)$", navigation, re.MULTILINE)
    written = {path.relative_to(pages).as_posix() for path in pages.rglob("*.md")}
    assert sorted(named) == sorted({*written, "gallery.md"})


def test_links_lead_to_pages(pages: Path) -> None:
    links = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+\.(?:md|png|svg))")
    for page in pages.rglob("*.md"):
        for link in links.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / link).is_file() or link.endswith("gallery.md"), f"{page.name}: {link}"


def test_a_link_to_a_file_that_is_not_on_the_site_is_an_error() -> None:
    prepare = script("prepare")
    places = {"docs/a.md": "a.md", "README.md": "index.md"}
    assert prepare.relinked("[x](../README.md#y) `[z](no.md)`\n", "docs/a.md", places) == (
        "[x](index.md#y) `[z](no.md)`\n"
    )
    with pytest.raises(SystemExit, match=r"docs/a\.md links to src/x\.py, which is not on the site"):
        prepare.relinked("[x](../src/x.py)", "docs/a.md", places)


def test_the_reference_has_every_public_name(pages: Path) -> None:
    listed = (pages / "reference" / "index.md").read_text(encoding="utf-8")
    for name in ("cnn_registry.train", "cnn_registry.register_model", "cnn_registry.testing.check_model"):
        assert f"#{name})" in listed


def test_a_notebook_is_a_page_with_its_outputs(pages: Path) -> None:
    text = (pages / "notebooks" / "train-your-own-folder.md").read_text(encoding="utf-8")
    assert "```python\nfrom cnn_registry import train\n" in text
    assert "<table><tr><th" in text
    pictures = re.findall(r"!\[output of the cell above\]\((\S+)\)", text)
    assert len(pictures) == 3
    assert all((pages / "notebooks" / name).stat().st_size > 1000 for name in pictures)


def test_versions_are_listed_with_the_newest_first(tmp_path: Path) -> None:
    for name in ("0.9.0", "0.10.0", "assets"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").touch()
    script("versions").main(tmp_path)
    listed = json.loads((tmp_path / "versions.json").read_text(encoding="utf-8"))
    assert [(each["version"], each["aliases"]) for each in listed] == [("0.10.0", ["latest"]), ("0.9.0", [])]
    assert 'url=0.10.0/index.html"' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_drawing_shows_the_stages_of_the_graph(two: str) -> None:
    from cnn_registry import get_spec

    gallery = script("gallery")
    found = list(gallery.stages(get_spec(two)))
    assert [(stage.size, stage.channels, stage.layers) for stage in found[-1:]] == [(None, 1000, 1)]
    assert found[0].size == get_spec(two).input_shape[:2]
    assert sum(stage.parameters for stage in found) == gallery_count(two)
    drawn = gallery.svg("two<", found)
    assert drawn.count("<rect") == len(found)
    assert "two&lt;" in drawn


def gallery_count(name: str) -> int:
    from cnn_registry import create_model

    return int(create_model(name).count_params())


PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]
CALL = re.compile(r"^(?:\$ | {4})?cnnreg ([a-z-]+)((?: .*)?)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_on_a_page_exist_with_their_options(page: Path) -> None:
    for name, arguments in CALL.findall(page.read_text(encoding="utf-8")):
        if name not in COMMANDS:
            assert name == "command" or page.name == "plugin-authors.md", f"cnnreg {name}"
            continue
        command = group.get_command(click.Context(group), name)
        assert command
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        shell = re.split(r" [#|>]| -- |  +", arguments)[0]
        for option in re.findall(r" (--[a-z-]+)", shell):
            assert option in known, f"cnnreg {name} {option}"
