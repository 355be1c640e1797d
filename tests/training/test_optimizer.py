"""The recipe's settings as Keras carries them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.backend.keras_internals import one_operation_step
from cnn_registry.recipes.load import load_recipe
from cnn_registry.training.optimizer import build_optimizer

keras = backend.keras()


def rates(settings: dict[str, object], steps_per_epoch: int) -> list[float]:
    recipe = load_recipe("default").with_settings({"epochs": 8, **settings})
    schedule = build_optimizer(recipe, steps_per_epoch)._learning_rate
    return [float(schedule(step)) for step in range(8 * steps_per_epoch + 1)]


def test_warm_up_rises_to_the_peak_and_cosine_falls_to_zero() -> None:
    found = rates({"schedule.warmup_epochs": 2, "optimizer.learning_rate": 0.1}, steps_per_epoch=5)
    assert found[0] == 0
    assert found[5] == pytest.approx(0.05)
    assert found[10] == pytest.approx(0.1)
    assert found[25] == pytest.approx(0.05)
    assert found[40] == pytest.approx(0, abs=1e-8)
    assert np.all(np.diff(found[:11]) > 0)
    assert np.all(np.diff(found[10:]) < 0)


def test_warm_up_takes_at_most_a_fourth() -> None:
    found = rates({"schedule.warmup_epochs": 100, "optimizer.learning_rate": 0.1}, steps_per_epoch=5)
    assert int(np.argmax(found)) == 10


def test_constant_with_warm_up_stays_at_the_peak() -> None:
    settings = {"schedule.name": "constant", "schedule.warmup_epochs": 1, "optimizer.learning_rate": 0.1}
    found = rates(settings, steps_per_epoch=5)
    assert found[0] == 0
    assert found[5:] == pytest.approx([0.1] * 36)


def test_constant_is_a_number() -> None:
    optimizer = build_optimizer(load_recipe("article"), 5)
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_each_name_is_its_keras_class(name: str, kind: str) -> None:
    recipe = load_recipe("article").with_settings({"optimizer.name": name, "optimizer.clipnorm": 5.0})
    optimizer = build_optimizer(recipe, 5)
    assert isinstance(optimizer, getattr(keras.optimizers, kind))
    assert optimizer.global_clipnorm == 5.0


def variables() -> dict[str, Any]:
    names = ("kernel", "bias", "gamma", "beta")
    return {name: keras.Variable(np.ones(3, "float32"), name=name) for name in names}


def test_weight_decay_spares_biases_and_normalisation() -> None:
    settings = {"schedule.warmup_epochs": 0, "optimizer.learning_rate": 0.5, "optimizer.weight_decay": 0.1}
    optimizer = build_optimizer(load_recipe("default").with_settings(settings), 5)
    weights = variables()
    optimizer.build(list(weights.values()))
    optimizer.apply([keras.ops.zeros(3) for _ in weights])
    after = {name: float(variable.numpy()[0]) for name, variable in weights.items()}
    assert after["kernel"] == pytest.approx(1 - 0.5 * 0.1)
    assert [after[name] for name in ("bias", "gamma", "beta")] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_variables_with_a_share_of_the_rate_move_by_that_share(name: str) -> None:
    settings = {"optimizer.name": name, "schedule.warmup_epochs": 0, "optimizer.weight_decay": 0.0}
    weights = variables()
    optimizer = build_optimizer(load_recipe("default").with_settings(settings), 5, [(weights["kernel"], 0.25)])
    optimizer.build(list(weights.values()))
    optimizer.apply([keras.ops.ones(3) for _ in weights])
    moved = {name: 1 - float(variable.numpy()[0]) for name, variable in weights.items()}
    assert moved["kernel"] == pytest.approx(moved["beta"] / 4, rel=1e-4)
    assert moved["bias"] == moved["beta"] > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "sgd", "momentum": 0.0, "nesterov": False},
        {"name": "sgd", "momentum": 0.9, "nesterov": False},
        {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "clipnorm": 0.5},
        {"name": "adam"},
        {"name": "adam", "clipnorm": 0.5},
        {"name": "adamw", "weight_decay": 0.01},
    ],
)
def test_steps_are_those_of_keras(settings: dict[str, Any]) -> None:
    recipe = load_recipe("article").with_settings({f"optimizer.{key}": value for key, value in settings.items()})
    theirs: dict[str, Any] = {"learning_rate": 1e-3, "global_clipnorm": settings.get("clipnorm")} | settings
    kind = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[theirs["name"]]
    theirs = {key: value for key, value in theirs.items() if key not in ("name", "clipnorm")}
    found = []
    for optimizer, faster in ((build_optimizer(recipe, 5), True), (kind(**theirs), False)):
        random = np.random.default_rng(0)
        weights = [
            keras.Variable(random.normal(size=shape), dtype="float32", name="kernel") for shape in ((3, 4), (5,))
        ]
        optimizer.build(weights)
        apply = one_operation_step(optimizer) if faster else optimizer.apply
        assert apply is not None
        for _ in range(7):
            apply([keras.ops.convert_to_tensor(random.normal(size=w.shape), "float32") for w in weights])
        found.append(np.concatenate([weight.numpy().ravel() for weight in weights]))
    ours, expected = found
    assert ours == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("size", [np.nan, np.inf, 1e30])
def test_a_gradient_without_a_finite_norm_is_not_clipped_to_nothing(name: str, size: float) -> None:
    settings = {"optimizer.name": name, "optimizer.clipnorm": 5.0, "schedule.warmup_epochs": 0}
    optimizer = build_optimizer(load_recipe("default").with_settings(settings), 5)
    weights = variables()
    optimizer.build(list(weights.values()))
    apply = one_operation_step(optimizer)
    assert apply is not None
    apply([keras.ops.full((3,), size if name == "kernel" else 0.1) for name in weights])
    assert all(np.isnan(variable.numpy()).all() for variable in weights.values())
