"""Recipes and ``--set`` with anything in them: a valid recipe comes of it, or one line that says what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnn_registry.errors import RecipeError
from cnn_registry.recipes.load import load_recipe, parse_settings
from cnn_registry.recipes.schema import Recipe

TABLES = ("optimizer", "schedule", "augmentation", "fine_tuning", "early_stopping")
FIELDS = [
    *Recipe.model_fields,
    *("optimizer.name", "optimizer.learning_rate", "optimizer.clipnorm", "schedule.warmup_epochs"),
    *("augmentation.flip", "early_stopping.patience", "fine_tuning.rate_decay", "model.dropout"),
]
NUMBERS = ["nan", "-nan", "inf", "-inf", "-1", "0", "-0.0", "1e999", "9" * 5000, "0x" + "f" * 5000, "2147483648"]
NESTED = ["[" * 5000, "[" * 150 + "]" * 150, "[" * 900 + "]" * 900, "{a=" * 900 + "1" + "}" * 900]
ODD = [
    "",
    "=",
    '"',
    "1\n[model]\nx=2",
    "1979-05-27",
    "'\\'",
    "\x1b[31m",
    "\udcff",
    "none",
    "true",
    "[1, 'a']",
    "{a = 1}",
]

keys = st.sampled_from([*FIELDS, *(f"{field}.x" for field in FIELDS), *TABLES]) | st.text(max_size=20)
texts = (
    st.sampled_from([*NUMBERS, *NESTED, *ODD]) | st.text(max_size=30) | st.floats().map(repr) | st.integers().map(str)
)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.dates()
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def check(make: Callable[[], Recipe]) -> None:
    """What ``make`` gives is a recipe that survives JSON; or it is refused in one line."""
    try:
        recipe = make()
    except RecipeError as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 1500
    else:
        assert Recipe.model_validate_json(recipe.model_dump_json(), strict=True) == recipe
        assert recipe.epochs > 0
        assert math.isfinite(recipe.optimizer.learning_rate)


@given(assignments=st.lists(st.tuples(keys, texts).map("=".join), max_size=3))
@example(["optimizer.learning_rate=nan"])
@example(["model." + "a." * 5000 + "a=1"])
@example(["a." * 5000 + "a=1"])
@example(["." * 100 + "=1"])
@example(["model.dropout=nan"])
@example(["epochs=" + "9" * 5000])
@example(["model.width=0x" + "f" * 5000])
@example(["name=\udcff"])
@example(["model.x=" + "[" * 900 + "]" * 900])
@example(["early_stopping.patience.x=1"])
def test_assignments_make_a_recipe_or_one_line(assignments: list[str]) -> None:
    check(lambda: load_recipe("default").with_settings(parse_settings(assignments)))


@given(settings=st.dictionaries(keys, values, max_size=3))
def test_settings_from_python_make_a_recipe_or_one_line(settings: dict[str, Any]) -> None:
    check(lambda: load_recipe("default").with_settings(settings))


lines = st.tuples(keys, texts).map(" = ".join) | st.sampled_from([f"[{table}]" for table in (*TABLES, "model")])
files = st.lists(lines, max_size=6).map("\n".join).map(lambda text: text.encode(errors="replace")) | st.binary()


@given(content=files.map(lambda content: b"epochs = 3\n" + content))
@example(b"epochs = 3\n" + b"a." * 3_000 + b"a = 1")
@example(b"epochs = 3\nmodel.x = " + b"[" * 900 + b"]" * 900)
@example(b"epochs = " + b"9" * 5000)
@example(b"epochs = 3\n[a\x1b[31m\x07]\n")
@example(b"\xef\xbb\xbfepochs = 3")
def test_recipe_files_make_a_recipe_or_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hostile.toml"
    file.write_bytes(content)
    check(lambda: load_recipe(file))


@pytest.mark.parametrize("line", ["epochs = {a = 1}", "augmentation.crop_area = {a = 1}", "optimizer.nesterov = {}"])
def test_a_table_in_place_of_an_inherited_value_is_one_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.toml").write_text(f'extends = "default"\n{line}\n')
    with pytest.raises(RecipeError, match=re.escape(f"{tmp_path / 'mine.toml'}: {line.partition(' ')[0]}")) as refused:
        load_recipe(tmp_path / "mine.toml")
    assert str(refused.value).isprintable()


def test_a_setting_below_an_option_is_not_taken_for_the_option() -> None:
    made = load_recipe("default").with_settings({"model.dropout.rate": 0.5})
    assert made.model == {"dropout": {"rate": 0.5}}


def test_numbers_that_are_not_finite_are_refused_in_a_models_options() -> None:
    for number in (math.nan, math.inf, [1.0, {"a": -math.inf}]):
        with pytest.raises(RecipeError, match=r"^Recipe default: model: 'dropout' must have finite numbers"):
            load_recipe("default").with_settings({"model.dropout": number})


def test_a_file_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    for path in (tmp_path / "folder.toml", tmp_path / "loop.toml", Path("nul\0.toml")):
        with pytest.raises(RecipeError, match=r"\.toml cannot be read: ") as caught:
            load_recipe(path)
        assert str(caught.value).isprintable()
