"""What ``cnnreg lr-find`` and `cnn_registry.find_learning_rate` do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_registry import backend
from cnn_registry.data.manifest import Manifest
from cnn_registry.data.sources.unreadable import OnBadImage
from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.callers import warned_once
from cnn_registry.system.extras import need
from cnn_registry.system.progress import note, working
from cnn_registry.training.fit import Fit
from cnn_registry.training.range_test import (
    FEWEST,
    HIGH,
    LOW,
    STEPS,
    LearningRates,
    for_the_test,
    range_test,
    rates_between,
)

from .plan import Request, check_request, plan_training


@checked_arguments
@working("Looking for a learning rate")
def find_learning_rate(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    split: str | None = None,
    steps: int = STEPS,
    low: float = LOW,
    high: float = HIGH,
    on_bad_image: OnBadImage = "skip",
    max_pixels: int | None = None,
) -> LearningRates:
    """Train a few steps at ever higher learning rates, try some of them, and suggest one to train with.

    The rates that are tried lie between where the loss falls and where it rises; each is trained with for some steps on
    the same batches, and the one with the lowest loss is suggested.

    Loss, optimizer, augmentation and batches are those of a training with the same arguments. The network is one of
    its own: nothing is written, and the generators of Python, NumPy and Keras are afterwards as they were. Where an
    epoch has fewer steps than the test, images are seen several times.

    Args:
        model, dataset, data, recipe, settings, split, on_bad_image, max_pixels: as for `train`.
        steps: at ever higher rates, at most; fewer are done where the loss diverges. Each of up to six rates is then
            tried for 2/5 of these steps.
        low: the first learning rate.
        high: the last one.

    Raises:
        UsageError: there are fewer than 20 steps, or the rates do not rise from above 0.
        TrainingError: the loss does not fall, so that no rate can be suggested.
        CnnRegistryError: as `train`.
    """
    need("Finding a learning rate", "scipy", "sklearn")
    if steps < FEWEST:
        raise UsageError(f"Finding a learning rate takes at least {FEWEST} steps; got {steps}.")
    if not 0 < low < high < float("inf"):
        raise UsageError(f"Learning rates must rise from above 0; got {low:g} to {high:g}.")
    backend.require_tensorflow()
    request = Request(get_spec(model), dataset, data, recipe, settings, split, on_bad_image, max_pixels)
    with warned_once():
        check_request(request)
        with backend.process_kept():
            plan = plan_training(request)
            chosen = for_the_test(plan.recipe)
            with backend.deterministic(chosen.deterministic), working(f"Building {plan.spec.name}", after=1.0):
                fit = Fit(plan.spec, plan.form, chosen, plan.images, plan.split)
            try:
                note(f"{plan.spec.name} on {plan.data.name}: {steps} steps at learning rates from {low:g} to {high:g}")
                with backend.deterministic(chosen.deterministic):
                    return range_test(fit, rates_between(low, high, steps))
            finally:
                fit.forget()
