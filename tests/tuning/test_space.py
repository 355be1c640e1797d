"""Space files: what they say, and what is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest

from cnn_registry.errors import UsageError
from cnn_registry.recipes.load import load_recipe
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.tuning.space import (
    Choices,
    Range,
    Space,
    as_it_is,
    checked_space,
    chosen_settings,
    default_space,
    read_space,
    space_lines,
    suggested,
)
from cnn_registry.workflows.plan import chosen_recipe

SPACE = """
batch_size = {choices = [16, 32]}
augmentation.crop_area = {choices = ["none", [0.5, 1.0]]}
model.filters = {low = 4, high = 16, step = 4}

[optimizer]
name = {choices = ["sgd", "adamw"]}
learning_rate = {low = 1e-4, high = 1e-1, log = true}
weight_decay = {low = 0, high = 1}
"""


def space_of(path: Path, text: str) -> Space:
    path.write_text(text)
    return read_space(path)


def checked(space: Space, spec: ModelSpec, base: str = "default", **settings: Any) -> Space:
    def resolved(more: Any) -> Recipe:
        return chosen_recipe(spec, base, {**settings, **more}).recipe

    return checked_space(space, "mine.toml", resolved({}), spec, resolved)


def test_a_space_has_ranges_and_choices(tmp_path: Path, tiny: str) -> None:
    space = checked(space_of(tmp_path / "mine.toml", SPACE), get_spec(tiny))
    assert space == {
        "batch_size": Choices((16, 32)),
        "augmentation.crop_area": Choices(("none", [0.5, 1.0])),
        "model.filters": Range(4, 16, step=4, whole=True),
        "optimizer.name": Choices(("sgd", "adamw")),
        "optimizer.learning_rate": Range(1e-4, 1e-1, log=True),
        "optimizer.weight_decay": Range(0, 1),  # of a setting that is not an integer
    }
    again = checked(space_of(tmp_path / "again.toml", "\n".join(space_lines(space))), get_spec(tiny))
    assert again == space


def test_the_first_trial_may_have_a_setting_that_is_called_none(tmp_path: Path, tiny: str) -> None:
    spec, recipe = get_spec(tiny), load_recipe("default")
    text = 'class_weights = {choices = ["none", "balanced"]}\nema = {choices = ["none", 2.0]}'
    space = checked(space_of(tmp_path / "mine.toml", text), spec, best_by="accuracy")
    assert as_it_is(space, recipe, spec) == {"class_weights": "none", "ema": 2}
    assert as_it_is(space, recipe.with_settings({"ema": None}), spec) == {"class_weights": "none", "ema": "none"}


def test_a_trial_takes_settings_that_the_recipe_accepts(tmp_path: Path, tiny: str) -> None:
    space = checked(space_of(tmp_path / "mine.toml", SPACE), get_spec(tiny))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = []
    for _ in range(20):
        trial = study.ask()
        settings = suggested(trial, space)
        assert load_recipe("default").with_settings(settings)
        assert chosen_settings(trial.params, space) == settings
        seen.append(settings)
    assert {str(settings["augmentation.crop_area"]) for settings in seen} == {"None", "[0.5, 1.0]"}
    assert {settings["model.filters"] for settings in seen} == {4, 8, 12, 16}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("epochs = 3", "epochs: expected {low = 1e-4.*got 3"),
        ("[optimizer]\nlearning_rate = 'x'", "optimizer.learning_rate: expected"),
        ("epochs = {low = 1}", "expected {low"),
        ("epochs = {low = 1, high = 9, base = 2}", "expected {low"),
        ("epochs = {choices = [1], low = 1}", "expected {low"),
        ("epochs = {choices = []}", "one or more values"),
        ("epochs = {choices = [1, 1]}", "twice"),
        ("epochs = {low = 9, high = 1}", "low must be below high"),
        ("epochs = {low = 1, high = inf}", r"numbers up to 9,007,199,254,740,992; got {low = 1, high = inf}"),
        ("epochs = {low = nan, high = 1.0}", "numbers up to"),
        (f"epochs = {{low = 1, high = 1{'0' * 400}}}", "numbers up to"),
        ("ema = {low = 0.1, high = 1.0, step = 1e-300}", "at most 1,000,000 steps"),
        ("epochs = {choices = [2020-01-01]}", "choices are finite numbers.*got {choices = .*2020-01-01"),
        ("ema = {choices = [0.1, nan]}", r"choices are finite numbers.*got {choices = \[0\.1, nan\]}"),
        ("ema = {choices = [[1.0, inf]]}", "choices are finite numbers"),
        ("epochs = {low = 2020-01-01, high = 2021-01-01}", "are numbers; got {low = .*2020-01-01"),
        ("epochs = {low = 1, high = 5, step = 00:00:01}", "are numbers; got .*00:00:01"),
        ("epochs = 2020-01-01T00:00:00", "expected .*got datetime.datetime"),
        (f"a{'.a' * 3_000} = {{low = 1, high = 2}}", "nested too deeply"),
        (
            f"epochs = {{choices = [{'[' * 150}nan{']' * 150}]}}",
            r"choices are finite.*got {choices = .{60,100}…\]{60,110}",
        ),
        (f"{'z' * 10_000} = {{low = 1}}", r"z{90,110}…z{90,110}: expected {low"),
        (f"epochs = {{choices = [1], low = '{'y' * 10_000}'}}", "got {choices = .{60,100}…y{60,110}"),
        ("epochs = {low = '1', high = 2}", "are numbers"),
        ("epochs = {low = true, high = 2}", "are numbers"),
        ("ema = {low = 0.0, high = 1.0, log = true}", "begins above 0"),
        ("ema = {low = 0.1, high = 1.0, log = 1}", "true or false"),
        ("ema = {low = 0.1, high = 1.0, log = true, step = 0.1}", "not logarithmic"),
        ("ema = {low = 0.1, high = 1.0, step = 2.0}", "not larger than the range"),
        ("", "has no settings"),
        ("epochs = ", "not valid TOML"),
    ],
)
def test_what_is_not_a_space_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"^The space .*mine\.toml.*{reason}") as refused:
        space_of(tmp_path / "mine.toml", line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("learningrate = {low = 0.1, high = 1.0}", "there is no setting 'learningrate'"),
        ("optimizer.learning_rate = {low = -1.0, high = 1.0}", "optimizer.learning_rate does not take -1.0"),
        ("model.width = {choices = [1]}", "has no option"),
        ("seed = {choices = [1, 2]}", "seed must be the same in all trials"),
        ("label_smoothing = {choices = [0.0, 0.1]}", "losses of trials cannot be compared.*best_by=accuracy"),
        ("loss.name = {choices = ['focal', 'poly1']}", "losses of trials cannot be compared"),
        ("schedule.name = {choices = ['cosine', 'plateau']}", "'plateau', which watches"),
    ],
)
def test_what_the_recipe_does_not_take_is_refused(tmp_path: Path, tiny: str, line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        checked(space_of(tmp_path / "mine.toml", line), get_spec(tiny))


def test_by_accuracy_trials_with_other_losses_can_be_compared(tmp_path: Path, tiny: str) -> None:
    space = space_of(tmp_path / "mine.toml", "label_smoothing = {choices = [0.0, 0.1]}")
    assert checked(space, get_spec(tiny), best_by="accuracy")


def test_the_default_space_lies_around_the_recipe(tiny: str) -> None:
    recipe = load_recipe("default")
    space = default_space(recipe, get_spec(tiny))
    assert space["optimizer.learning_rate"] == Range(0.005, 0.5, log=True)
    assert space["batch_size"] == Choices((16, 32, 64))
    assert "model.dropout" not in space
    first = as_it_is(space, recipe, get_spec(tiny))
    assert first.keys() == space.keys()
    assert chosen_settings(first, space)["augmentation.crop_area"] == [0.3, 1.0]
    own = recipe.with_settings({"augmentation.crop_area": [0.4, 0.9]})
    space = default_space(own, get_spec(tiny))
    assert chosen_settings(as_it_is(space, own, get_spec(tiny)), space)["augmentation.crop_area"] == [0.4, 0.9]
    bare = default_space(load_recipe("article"), get_spec(tiny))
    assert not [key for key in bare if key.startswith(("augmentation", "mixing"))]
    without = recipe.with_settings({"optimizer.weight_decay": 0.0})
    assert "optimizer.weight_decay" not in default_space(without, get_spec(tiny))


def test_a_models_dropout_is_searched() -> None:
    spec = get_spec("alexnet")
    space = default_space(load_recipe("default"), spec)
    assert space["model.dropout"] == Range(0.0, 0.7)
    assert as_it_is(space, load_recipe("default"), spec)["model.dropout"] == spec.options["dropout"]
    more = load_recipe("default").with_settings({"model.dropout": 0.8})
    assert default_space(more, spec)["model.dropout"] == Range(0.0, 0.8)
    assert as_it_is(default_space(more, spec), more, spec)["model.dropout"] == 0.8


def test_a_path_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f"The space {tmp_path} cannot be read")):
        read_space(tmp_path)
