"""The pages of reference: they are what their scripts make of the code, and what they say is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from pydantic import BaseModel

from cnn_registry import Pixels, Recipe, register_model, train
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.errors import RecipeError
from tests.conftest import SETTINGS
from tests.scripts import script
from tests.test_docs import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["recipes", "declarations"])
def test_the_page_is_what_its_script_prints(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script(f"docs.make_{name}").main()
    assert page(name) == capsys.readouterr().out, "run: make docs"


def keys(settings: type[BaseModel], before: str = "") -> Iterator[str]:
    """The keys of a recipe, as ``--set`` takes them."""
    for name, field in settings.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if inspect.isclass(kind)]
        tables = [kind for kind in inner if issubclass(kind, BaseModel)]
        yield from keys(tables[0], f"{name}.") if tables else [before + name]


def test_every_key_of_a_recipe_is_there_with_a_default_that_is_one() -> None:
    item = re.compile(r"^- \*\*`([\w.]+)`\*\*: .*?(?:, default `([^`]*)`|, required)", re.MULTILINE)
    found = dict(item.findall(page("recipes")))
    assert sorted(found) == sorted(keys(Recipe))
    recipe = Recipe(name="x", epochs=1)
    for key, default in found.items():
        table, _, name = key.rpartition(".")
        owner = getattr(recipe, table) if table else recipe
        if default and owner is not None:
            value = getattr(owner, name)
            assert default == script("docs.make_recipes").written(value).strip("`"), key


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("optimizer.momentum", 1.0),
        ("crop_share", 0.05),
        ("seed", 2**31),
        ("schedule.factor", 0),
        ("mixing.mixup", 1001),
    ],
)
def test_the_bounds_on_the_page_are_those_of_the_setting(key: str, refused: float) -> None:
    [line] = [line for line in page("recipes").splitlines() if line.startswith(f"- **`{key}`**")]
    bounds = re.findall(r"([><≥≤]) ([\d.]+)", line.partition("default")[0])
    holds = {">": np.greater, "≥": np.greater_equal, "<": np.less, "≤": np.less_equal}
    assert not all(holds[sign](refused, float(bound)) for sign, bound in bounds)
    with pytest.raises(RecipeError):
        Recipe(name="x", epochs=1).with_settings({key: refused})


def test_every_argument_of_a_declaration_is_there() -> None:
    section = re.split(r"^## (\w+)$", page("declarations"), flags=re.MULTILINE)
    arguments = re.findall(r"^- \*\*`(\w+)`\*\*", section[section.index("register_model") + 1], re.MULTILINE)
    assert arguments == list(inspect.signature(register_model).parameters)


def test_the_ranges_of_pixels_are_those_of_the_code() -> None:
    text = page("recipes").partition("## Values of pixels")[2]
    found = re.findall(r'^- `"(\w+)"`:(.*?)(?=^\S|^$)', text, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in found] == list(get_args(Pixels))
    for name, about in found:
        low, high = re.findall(r"from\s(?:about\s+)?(-?[\d.]+)\sto\s(-?[\d.]+?)\.?\s", about)[-1]
        black_to_white = scale(np.array([[0, 0, 0], [255, 255, 255]], np.float32), name)
        places = len(low.partition(".")[2])
        assert (round(float(black_to_white.min()), places), round(float(black_to_white.max()), places)) == (
            float(low),
            float(high),
        )


def test_the_callback_of_the_page_writes_what_it_says(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [source] = [text for language, text in BLOCK.findall(page("callbacks")) if language == "python"]
    Path("my_callbacks.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {**SETTINGS, "epochs": 2, "callbacks": ["my_callbacks:Lines,path=lines.txt"]}
    run = train(tiny, data=colours, settings=settings, report=False)
    lines = [line.split() for line in Path("lines.txt").read_text().splitlines()]
    assert [int(epoch) for epoch, _, _ in lines] == [1, 2]
    assert int(lines[1][1]) == 2 * int(lines[0][1])
    assert [accuracy for _, _, accuracy in lines] == [f"{row.val_accuracy:.3f}" for row in run.history]
