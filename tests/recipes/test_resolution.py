"""Who wins: single settings, the user's own recipe, the plugin's adjustments, what is inherited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnn_registry.errors import RecipeError, UnknownNameError
from cnn_registry.recipes.load import load_recipe
from cnn_registry.recipes.resolution import Layer, Resolved, resolve

ADJUSTMENTS: dict[str, dict[str, Any]] = {
    "default": {"epochs": 80, "optimizer.clipnorm": 2.0, "photos.size": 144, "model.dropout": 0.2},
    "article": {"optimizer.learning_rate": 1e-5},
}


def resolved(recipe: Any, **settings: Any) -> Resolved:
    single = {key.replace("__", "."): value for key, value in settings.items()}
    return resolve(recipe, ADJUSTMENTS, "net").with_layer(Layer("--set", single, own=True))


def origin(found: Resolved, key: str) -> str:
    return next(where for name, _, where in found.rows() if name == key)


def test_the_plugin_adjusts_what_is_inherited() -> None:
    found = resolved("default")
    assert (found.recipe.epochs, found.recipe.optimizer.clipnorm) == (80, 2.0)
    assert origin(found, "epochs") == "net for default"
    assert origin(found, "batch_size") == "recipe default"
    assert origin(found, "seed") == "not set"
    assert found.own == frozenset()


def test_the_keys_of_ones_own_file_hold_and_the_rest_is_adjusted(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "default"\nepochs = 3\n[model]\ndropout = 0.5\n[photos]\nsize = 48\n')
    found = resolved(file)
    assert (found.recipe.name, found.recipe.epochs, found.recipe.model) == ("mine", 3, {"dropout": 0.5})
    assert found.recipe.photos is not None
    assert found.recipe.photos.size == 48
    assert found.recipe.optimizer.clipnorm == 2.0, "the file does not write it"
    assert origin(found, "epochs") == str(file)
    assert found.own >= {"epochs", "model.dropout", "photos.size"}
    assert found.inherited["photos.size"] == 144


def test_single_settings_come_last(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\nepochs = 3\n')
    found = resolved(tmp_path / "mine.toml", epochs=5, model__dropout=0.7)
    assert (found.recipe.epochs, found.recipe.model) == (5, {"dropout": 0.7})
    assert origin(found, "epochs") == "--set"


def test_a_table_written_as_its_name_leaves_the_rest_of_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\nschedule.warmup_epochs = 1.5\n')
    found = resolved(tmp_path / "mine.toml", schedule="step")
    assert (found.recipe.schedule.name, found.recipe.schedule.warmup_epochs) == ("step", 1.5)
    assert origin(found, "schedule.name") == "--set"
    assert origin(found, "schedule.warmup_epochs") == str(tmp_path / "mine.toml")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_adjustments_hold_through_any_chain_of_extends(tmp_path: Path, depth: int) -> None:
    """A built-in recipe that extends another, under files that extend each other."""
    base = "article_crops"
    for number in range(depth):
        (tmp_path / f"{number}.toml").write_text(f'extends = "{base}"\nbatch_size = {number + 1}\n')
        base = f"{number}.toml"
    found = resolved(tmp_path / base)
    assert found.recipe.optimizer.learning_rate == 1e-5
    assert found.recipe.decode_size == 256
    assert found.recipe.batch_size == depth
    assert origin(found, "batch_size") == str(tmp_path / base)


def test_a_nearer_file_wins_over_the_one_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('extends = "default"\nepochs = 3\nema = 1\n')
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\nepochs = 4\n')
    found = resolved(tmp_path / "mine.toml")
    assert (found.recipe.epochs, found.recipe.ema) == (4, 1)
    assert load_recipe(tmp_path / "mine.toml").epochs == 4


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    with pytest.raises(RecipeError, match=r"extends itself"):
        resolved(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text('extends = "c.toml"\n')
    with pytest.raises(RecipeError, match=r"c\.toml cannot be read"):
        resolved(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text('extends = "defualt"\n')
    with pytest.raises(UnknownNameError, match="Did you mean 'default'"):
        resolved(tmp_path / "a.toml")


def test_a_recipe_in_python_holds_where_it_differs_from_the_one_it_was_made_of() -> None:
    found = resolved(load_recipe("default").with_settings({"epochs": 3}))
    assert found.recipe.epochs == 3
    assert found.recipe.optimizer.clipnorm == 2.0
    assert found.own == {"epochs"}


def test_what_weights_need_is_stronger_than_adjustments_and_weaker_than_what_one_writes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\n[model]\ndropout = 0.5\n')
    needs = [Layer("weights w", {"pixels": "caffe", "model": {"dropout": 0.1}})]
    found = resolve(tmp_path / "mine.toml", ADJUSTMENTS, "net", needs)
    assert (found.recipe.pixels, found.recipe.model) == ("caffe", {"dropout": 0.5})
    assert origin(found, "pixels") == "weights w"


def test_the_older_name_of_layer_decay_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\n[fine_tuning]\nrate_decay = 0.5\n')
    assert load_recipe(tmp_path / "mine.toml").fine_tuning.layer_decay == 0.5
    assert resolved("default", fine_tuning__rate_decay=0.25).recipe.fine_tuning.layer_decay == 0.25


def test_a_recipe_that_is_not_a_regular_file_or_too_large_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe(tmp_path / "zero.toml")
    (tmp_path / "large.toml").write_text("# " + "x" * 2**20)
    with pytest.raises(RecipeError, match="more than 1,048,576 bytes"):
        load_recipe(tmp_path / "large.toml")
