"""What is tuned: everything that the trials have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from cnn_registry import backend
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.split import TUNING
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.workflows.plan import Plan, Request, check_request, chosen_recipe, plan_training

from .space import DEFAULT, Space, checked_space, default_space, read_space


class DataArguments(TypedDict):
    """Where the images are: arguments of `train`."""

    dataset: str | None
    data: str | Path | Manifest | None
    max_pixels: int | None


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


def task_of(
    model: str,
    dataset: str | None,
    data: str | Path | Manifest | None,
    recipe: str | Path | Recipe | None,
    settings: dict[str, Any],
    space: str | Path,
    max_pixels: int | None = None,
) -> Task:
    """What is tuned, with everything checked that can be."""
    spec = get_spec(model)
    given = None if str(space) == DEFAULT else read_space(Path(space))
    images = DataArguments(dataset=dataset, data=data, max_pixels=max_pixels)
    request = Request(spec, **images, recipe=recipe, settings=settings, split=TUNING)
    check_request(request)
    with backend.process_kept():
        plan = plan_training(request)
    base = plan.recipe
    if base.best_by == "last":
        raise UsageError("best_by = last chooses nothing, so trials cannot be compared; use --set best_by=val_loss.")
    if base.schedule.name == "plateau":
        raise UsageError(
            "The schedule 'plateau' watches validation images; the best recipe is retrained without any. Choose "
            "another one, for instance with --set schedule=cosine."
        )

    def resolved(more: Mapping[str, Any]) -> Recipe:
        return chosen_recipe(spec, recipe, {**settings, **more}).recipe

    found = checked_space(given or default_space(base, spec), str(space), base, spec, resolved)
    return Task(spec, model, images, recipe, settings, found, plan)
