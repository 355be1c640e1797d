"""What is published of a run says nothing of the place where it was trained."""

from __future__ import annotations

from typing import Any

import pytest

from cnn_registry.hub.card import shown_source
from cnn_registry.hub.files import published_recipe
from cnn_registry.recipes.load import load_recipe


def test_a_recipe_is_published_without_the_folders_of_files() -> None:
    own: dict[str, Any] = {"fine_tuning.weights": None, "callbacks": []}
    callbacks = ["keras.callbacks:CSVLogger,filename=/home/my self/logs/a.csv", "mine:Other,at=C:\\Users\\me\\b"]
    recipe = load_recipe("default").with_settings(
        {"fine_tuning.weights": "/home/me/secret/mine.weights.h5", "callbacks": callbacks}
    )
    found = published_recipe(recipe)
    assert found.fine_tuning.weights == "mine.weights.h5"
    assert found.callbacks == ("keras.callbacks:CSVLogger,filename=a.csv", "mine:Other,at=b")
    assert found.with_settings(own) == recipe.with_settings(own)


@pytest.mark.parametrize(
    ("weights", "shown"),
    [
        ("keras:imagenet", "keras:imagenet"),
        ("hf://user/name@main", "hf://user/name@main"),
        ("runs/2026-01-01/best.weights.h5", "best.weights.h5"),
        ("C:\\Users\\me\\best.weights.h5", "best.weights.h5"),
    ],
)
def test_weights_are_named_without_their_folder(weights: str, shown: str) -> None:
    assert shown_source(weights) == shown
