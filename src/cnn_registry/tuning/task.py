"""What is tuned: everything that the trials have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from cnn_registry.data.manifest import Manifest
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.workflows.plan import Plan

from .space import Space


class DataArguments(TypedDict):
    """Where the images are: arguments of `train`."""

    dataset: str | None
    data: str | Path | Manifest | None


@dataclass(frozen=True)
class Task:
    """What every trial has in common.

    Attributes:
        spec: the model's spec.
        model: its name, as it was given.
        images: see there.
        recipe, settings: what the trials change.
        space: what they choose from.
        plan: of the recipe as it is, on the split for tuning.
    """

    spec: ModelSpec
    model: str
    images: DataArguments
    recipe: str | Path | Recipe | None
    settings: Mapping[str, Any]
    space: Space
    plan: Plan

    @property
    def base(self) -> Recipe:
        """The recipe as it is."""
        return self.plan.recipe

    def arguments(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `train`, with these settings in the place of the recipe's."""
        rate = self.base.optimizer
        # The rate of the plan is that of its batches already.
        scaled = {"optimizer.learning_rate": rate.learning_rate, "optimizer.for_images": rate.for_images}
        base = {**self.settings, **(scaled if rate.for_images else {})}
        return {**self.images, "recipe": self.recipe, "settings": {**base, **settings}}

    def subject(self) -> dict[str, Any]:
        """What a study is of, JSON-ready."""
        recipe = {key: value for key, value in self.base.to_dict().items() if key not in ("summary", "extends")}
        space = {key: entry.to_dict() for key, entry in self.space.items()}
        found = {"model": self.spec.name, "images": self.plan.data.digest, "recipe": recipe, "space": space}
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain
