"""Recipes: what they hold, how they are read, and what overrides what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnn_registry.data.pipeline.augment import Augmentation
from cnn_registry.errors import RecipeError, UnknownNameError, UsageError
from cnn_registry.recipes.load import load_recipe, parse_settings, recipe_names
from cnn_registry.recipes.schema import Recipe
from cnn_registry.recipes.toml import toml_lines


def test_the_built_in_recipes_load() -> None:
    assert recipe_names() == ["article", "article_crops", "article_scale_jitter", "default", "fine_tune"]
    assert [load_recipe(name).name for name in recipe_names()] == recipe_names()


def test_article_is_the_article_to_the_letter() -> None:
    recipe = load_recipe("article")
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate) == ("adam", 1e-3)
    assert (recipe.epochs, recipe.batch_size, recipe.image_size, recipe.pixels) == (100, 64, 224, "unit")
    assert recipe.early_stopping is not None
    assert (recipe.early_stopping.patience, recipe.early_stopping.min_delta) == (30, 1e-4)
    assert recipe.augmentation == Augmentation()
    assert recipe.label_smoothing == 0
    assert recipe.schedule.name == "constant"


def test_a_recipe_extends_another_table_by_table(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\nepochs = 3\n[augmentation]\nflip = false\n')
    mine, default = load_recipe(tmp_path / "mine.toml"), load_recipe("default")
    assert (mine.name, mine.epochs, mine.augmentation.flip) == ("mine", 3, False)
    assert mine.optimizer == default.optimizer
    assert mine.augmentation.crop_area == default.augmentation.crop_area
    (tmp_path / "mine.toml").write_text('extends = "defualt"\n')
    with pytest.raises(UnknownNameError, match="Did you mean 'default'"):
        load_recipe(tmp_path / "mine.toml")


def test_the_articles_augmentations_are_its_settings_and_crops() -> None:
    article, crops, jitter = map(load_recipe, ("article", "article_crops", "article_scale_jitter"))
    for recipe, zoom in ((crops, 256 / 224), (jitter, 512 / 224)):
        assert recipe.optimizer == article.optimizer
        assert recipe.early_stopping == article.early_stopping
        assert recipe.augmentation.zoom is not None
        assert recipe.augmentation.zoom[1] == pytest.approx(zoom, rel=1e-5)
        assert recipe.decode_size == round(zoom * 224)


def test_settings_replace_nested_keys_and_leave_the_rest() -> None:
    before = load_recipe("default")
    after = before.with_settings({"optimizer.learning_rate": 0.01, "augmentation.flip": False, "model.dropout": 0.3})
    assert after.optimizer.learning_rate == 0.01
    assert after.optimizer.momentum == before.optimizer.momentum
    assert after.augmentation.flip is False
    assert after.model == {"dropout": 0.3}
    assert before.optimizer.learning_rate == 0.05


def test_a_missing_table_can_be_created_and_removed() -> None:
    begun = load_recipe("default").with_settings({"early_stopping.patience": 3})
    assert begun.early_stopping is not None
    assert begun.early_stopping.patience == 3
    assert load_recipe("article").with_settings({"early_stopping": None}).early_stopping is None


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("optimizer.learning_rate = 1e-2", "optimizer.learning_rate", 0.01),
        ("schedule.name=cosine", "schedule.name", "cosine"),
        ("augmentation.flip=true", "augmentation.flip", True),
        ("augmentation.crop_area=[0.5, 1.0]", "augmentation.crop_area", [0.5, 1.0]),
        ("early_stopping=none", "early_stopping", None),
        ("model.variant=a=b", "model.variant", "a=b"),
        ("summary=x\nepochs = 4", "summary", "x\nepochs = 4"),
    ],
)
def test_assignments_are_read_as_toml(assignment: str, key: str, value: object) -> None:
    assert parse_settings([assignment]) == {key: value}


def test_none_in_a_file_is_an_absent_value(tmp_path: Path) -> None:
    base, mine = tmp_path / "base.toml", tmp_path / "mine.toml"
    base.write_text(
        'extends = "article"\nearly_stopping = "none"\noptimizer.clipnorm = 5\nclass_weights = "balanced"\n'
    )
    assert load_recipe(base).early_stopping is None
    mine.write_text(
        'extends = "base.toml"\nimage_size = "none"\nclass_weights = "none"\nearly_stopping.patience = 3\n'
        'model.norm = "none"\n[optimizer]\nclipnorm = "none"\n'
    )
    recipe = load_recipe(mine)
    assert (recipe.image_size, recipe.optimizer.clipnorm, recipe.class_weights) == (None, None, "none")
    assert recipe.early_stopping is not None
    assert recipe.model == {"norm": "none"}, "an option may be any text"
    with pytest.raises(RecipeError, match=r"epochs: .*got 'none'"):
        recipe.with_settings({"epochs": "none"})


def test_none_is_also_what_some_settings_are_called() -> None:
    balanced = load_recipe("default").with_settings({"class_weights": "balanced"})
    assert balanced.with_settings(parse_settings(["class_weights=none"])).class_weights == "none"


def test_a_recipe_that_is_printed_is_read_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\nearly_stopping.patience = 3\n')
    mine = load_recipe(tmp_path / "mine.toml").with_settings(
        {"ema": None, "photos": None, "optimizer.clipnorm": None, "early_stopping": None}
    )
    (tmp_path / "again.toml").write_text("\n".join(toml_lines(mine.to_dict())))
    assert load_recipe(tmp_path / "again.toml").to_dict() == mine.to_dict() | {"name": "again"}


@pytest.mark.parametrize("assignment", ["epochs", "=3", ""])
def test_an_assignment_without_key_or_value_is_refused(assignment: str) -> None:
    with pytest.raises(RecipeError, match="key=value"):
        parse_settings([assignment])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epoch": 3}, ["'epoch'", "Did you mean 'epochs'"]),
        ({"optimizer.lr": 3}, ["'optimizer.lr'", "learning_rate"]),
        ({"learning_rate": 3}, ["'learning_rate'", "Did you mean 'optimizer.learning_rate'"]),
        ({"augmentaton.flip": True}, ["'augmentaton'", "Did you mean 'augmentation'"]),
        ({"early_stopping.patients": 3}, ["'early_stopping.patients'", "Did you mean 'patience'"]),
        ({"epochs.x": 3}, ["epochs is a single value"]),
        ({"a.b.c.d.e": 3}, ["there is no setting 'a'"]),
        ({"epochs": "3"}, ["epochs", "'3'"]),
        ({"epochs": 3.5}, ["epochs", "3.5"]),
        ({"epochs": True}, ["epochs", "True"]),
        ({"epochs": 0}, ["epochs", "greater than 0"]),
        ({"epochs": None}, ["epochs", "None"]),
        ({"batch_size": -1}, ["batch_size", "-1"]),
        ({"optimizer.learning_rate": float("nan")}, ["optimizer.learning_rate", "finite"]),
        ({"optimizer.learning_rate": -0.1}, ["optimizer.learning_rate", "-0.1"]),
        ({"optimizer.name": "s g d"}, ["optimizer.name", "expected a name or module:object", "'s g d'"]),
        ({"schedule": "cosin"}, ["schedule.name", "Did you mean 'cosine'", "'cosin'"]),
        ({"loss": "focl"}, ["loss.name", "Did you mean 'focal'"]),
        ({"loss.options": {"x": float("nan")}}, ["loss.options", "finite"]),
        ({"callbacks": ["CSVLogger"]}, ["callbacks", "expected module:object"]),
        ({"metrics": ["a b"]}, ["metrics.0", "expected a name or module:object"]),
        ({"optimizer": 3}, ["optimizer is a table of settings, optimizer.name", "3"]),
        ({"mixing": 0.2}, ["mixing is a table of settings", "mixing.since, mixing.until", "0.2"]),
        ({"mixing.cutmix": float("inf")}, ["mixing.cutmix", "finite"]),
        ({"label_smoothing": 1.0}, ["label_smoothing", "less than 1"]),
        ({"augmentation.crop_area": [0.9, 0.1]}, ["crop_area"]),
        ({"augmentation.zoom": [1, float("inf")]}, ["augmentation.zoom", "finite"]),
        ({"augmentation.crop_aspect": [1, float("inf")]}, ["augmentation.crop_aspect", "finite"]),
        ({"early_stopping": {}}, ["early_stopping.patience", "missing"]),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings: dict[str, object], words: list[str]) -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe("default").with_settings(settings)
    message = str(refused.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'defualt'.*Did you mean 'default'.*cnnreg recipes"):
        load_recipe("defualt")


def test_a_recipe_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('epochs = 3\n[optimizer]\nname = "adamw"\nweight_decay = 0.01\n')
    recipe = load_recipe(file)
    assert (recipe.name, recipe.epochs, recipe.optimizer.name) == ("mine", 3, "adamw")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"epochs = ", "not valid TOML"),
        (b"\xff\xfe", "cannot be read"),
        (b"epoch = 3", "Did you mean 'epochs'"),
        (b"batch_size = 3", "'epochs' is missing"),
        (b"a=" + b"[" * 5000, "not valid TOML"),
    ],
)
def test_a_bad_recipe_file_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=word):
        load_recipe(file)


def test_a_missing_recipe_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")


def test_a_recipe_survives_json() -> None:
    recipe = load_recipe("default").with_settings({"model.dropout": 0.3, "early_stopping.patience": 4})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("schedule", "one-cycle", "one_cycle"),
        ("schedule.name", "One_Cycle", "one_cycle"),
        ("loss", "binary-cross-entropy", "binary_cross_entropy"),
        ("loss", "poly-1", "poly1"),
    ],
)
def test_names_may_have_hyphens(key: str, given: str, kept: str) -> None:
    recipe = load_recipe("default").with_settings({key: given})
    assert getattr(recipe, key.partition(".")[0]).name == kept


def test_numpys_numbers_are_those_of_python() -> None:
    settings = {
        "epochs": np.int64(3),
        "optimizer.learning_rate": np.float32(0.5),
        "image_size": np.array([16, 24]),
        "model.biased": np.False_,
    }
    made = load_recipe("default").with_settings(settings)
    assert (made.epochs, made.optimizer.learning_rate, made.image_size) == (3, 0.5, (16, 24))
    assert made.model == {"biased": False}


def test_settings_in_one_string_are_refused() -> None:
    with pytest.raises(UsageError, match=r"settings must be a dict \(each key a string\); got 'epochs=3'"):
        load_recipe("default").with_settings("epochs=3")  # type: ignore[arg-type]  # what is refused
