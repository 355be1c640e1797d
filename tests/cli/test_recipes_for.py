"""``cnnreg recipes --for``, and a run's recipe for another training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.registry.models import get_spec
from cnn_registry.runs.run import Run
from cnn_registry.workflows.plan import Request, chosen_recipe, plan_training

if TYPE_CHECKING:
    from tests.conftest import Cnnreg


def test_what_is_printed_for_a_model_is_read_back_as_the_same_recipe(
    cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('extends = "default"\nepochs = 3\n[loss]\nname = "focal"\ngamma = 1.0\n')
    printed = cnnreg("recipes", tmp_path / "mine.toml", "--for", tiny, "--toml").out
    (tmp_path / "printed.toml").write_text(printed)
    assert f"epochs = 3  # {tmp_path}/mine.toml" in printed
    assert "batch_size = 32  # recipe default" in printed
    plans = [
        plan_training(Request(get_spec(tiny), data=colours, recipe=tmp_path / name))
        for name in ("mine.toml", "printed.toml")
    ]
    one, other = (plan.recipe.to_dict() for plan in plans)
    assert {key for key in one if one[key] != other[key]} <= {"name", "extends", "photos"}
    assert other["image_size"] == 16


def test_each_value_is_listed_with_its_origin(cnnreg: Cnnreg, tiny: str) -> None:
    rows = {row["key"]: row for row in json.loads(cnnreg("recipes", "default", "--for", tiny, "--json").out)}
    assert rows["epochs"] == {"key": "epochs", "value": 60, "from": "recipe default"}
    assert rows["photos.size"] == {"key": "photos.size", "value": 16, "from": "photos of tiny"}
    assert rows["seed"]["from"] == "not set"


def test_a_run_is_a_recipe(trained: Path, tiny: str) -> None:
    recipe = Run.open(trained).record.recipe
    assert chosen_recipe(get_spec(tiny), trained, {"epochs": 7}).recipe == recipe.with_settings({"epochs": 7})


@pytest.mark.parametrize(
    ("option", "value", "key"),
    [
        ("--lr", 0.25, "optimizer.learning_rate"),
        ("--batch-size", 8, "batch_size"),
        ("--image-size", 20, "image_size"),
        ("--seed", 5, "seed"),
        ("--callback", "keras.callbacks:TerminateOnNaN", "callbacks"),
    ],
)
def test_common_settings_are_options(
    cnnreg: Cnnreg, tiny: str, colours: Path, option: str, value: object, key: str
) -> None:
    plan = json.loads(cnnreg("train", tiny, "--data", colours, option, value, "--dry-run", "--json").out)
    row = next(row for row in plan["settings"] if row["key"] == key)
    assert row["value"] == ([value] if key == "callbacks" else value)
    assert row["from"] == "--set"
