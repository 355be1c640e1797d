"""The recipe's settings as Keras carries them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.backend.keras_internals import one_operation_step
from cnn_registry.errors import UsageError
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


STEP: dict[str, Any] = {"schedule.name": "step", "schedule.warmup_epochs": 0, "optimizer.learning_rate": 1.0}


def test_step_multiplies_the_rate_at_each_milestone() -> None:
    found = rates(STEP | {"schedule.milestones": [0.5, 0.75], "schedule.factor": 0.1}, steps_per_epoch=5)
    assert found[:20] == pytest.approx([1.0] * 20)
    assert found[20:30] == pytest.approx([0.1] * 10)
    assert found[30:40] == pytest.approx([0.01] * 10)


@pytest.mark.parametrize(
    ("name", "middle", "end"), [("polynomial", 0.25, 0.0), ("exponential", 0.1, 0.01), ("cosine", 0.5, 0.0)]
)
def test_other_schedules_fall_after_the_warm_up(name: str, middle: float, end: float) -> None:
    settings: dict[str, Any] = {"schedule.name": name, "schedule.warmup_epochs": 2, "schedule.power": 2.0}
    found = rates(settings | {"optimizer.learning_rate": 1.0}, steps_per_epoch=5)
    assert found[:11] == pytest.approx(np.linspace(0, 1, 11))
    assert [found[25], found[40]] == pytest.approx([middle, end], abs=1e-6)


def test_final_is_where_a_schedule_ends() -> None:
    for name in ("polynomial", "exponential", "cosine", "one_cycle"):
        settings: dict[str, Any] = {"schedule.name": name, "schedule.final": 0.2, "optimizer.learning_rate": 0.5}
        assert rates(settings, steps_per_epoch=5)[40] == pytest.approx(0.1), name


def test_one_cycle_rises_from_a_25th_and_has_no_other_warm_up() -> None:
    found = rates({"schedule.name": "one_cycle", "optimizer.learning_rate": 1.0}, steps_per_epoch=5)
    assert found[0] == pytest.approx(0.04)
    assert int(np.argmax(found)) == 12
    assert found[40] == pytest.approx(0, abs=1e-7)


def test_a_schedule_may_be_any_object_of_keras_form() -> None:
    name = "keras.optimizers.schedules:InverseTimeDecay"
    settings: dict[str, Any] = {
        "schedule.name": name,
        "schedule.options": {"decay_rate": 1.0},
        "optimizer.learning_rate": 1.0,
    }
    found = rates(settings | {"schedule.warmup_epochs": 0}, steps_per_epoch=5)
    assert [found[0], found[40]] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("lion", {"beta_1": 0.95}, "Lion"),
        ("RMSprop", {}, "RMSprop"),
        ("keras.optimizers:Lamb", {}, "Lamb"),
        ("adamW", {}, "AdamW"),
    ],
)
def test_an_optimizer_may_be_any_of_keras_or_an_object(name: str, options: dict[str, Any], kind: str) -> None:
    settings = {"optimizer.name": name, "optimizer.options": options, "optimizer.weight_decay": 0.1}
    config = build_optimizer(load_recipe("default").with_settings(settings), 5).get_config()
    assert isinstance(
        build_optimizer(load_recipe("default").with_settings(settings), 5), getattr(keras.optimizers, kind)
    )
    assert {key: config[key] for key in options} == options
    assert [config["weight_decay"], config["global_clipnorm"]] == [0.1, 5.0]
    assert config.get("momentum", 0.9) == 0.9


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer.name": "lyon"}, "Keras has no optimizer 'lyon'. Did you mean 'lion'"),
        ({"optimizer.name": "keras.optimizer:Lion"}, "There is no module 'keras.optimizer' for the optimizer"),
        ({"optimizer.name": "keras.optimizers:Lyon"}, "has no 'Lyon' for the optimizer. Did you mean 'Lion'"),
        ({"optimizer.name": "keras.layers:Dense"}, "The optimizer cannot be made by Dense"),
        ({"optimizer.name": "types:SimpleNamespace"}, "must make a keras.Optimizer; it made SimpleNamespace"),
        ({"optimizer.options": {"beta": 1}}, "The optimizer cannot be made by SGD with .*beta=1"),
        ({"accumulate": 11, "epochs": 2}, "change after 11 steps, and the training has 10 steps"),
        ({"optimizer.options": {"use_ema": True}}, "sgd averages the weights .*Use the recipe's ema"),
        ({"schedule.name": "builtins:max"}, "must return a keras.optimizers.schedules.LearningRateSchedule"),
    ],
)
def test_what_is_neither_an_optimizer_nor_a_schedule_is_refused_in_one_line(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        build_optimizer(load_recipe("default").with_settings(settings), 5)
    assert "\n" not in str(refused.value)
