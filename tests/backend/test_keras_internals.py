"""Training is that of plain Keras, whatever a newer Keras renames."""

from __future__ import annotations

import gc
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.backend import keras_internals
from cnn_registry.backend.keras_internals import MODEL_NEEDS, one_operation_step, require_shareable_steps
from cnn_registry.errors import BackendError
from cnn_registry.networks import acceleration
from cnn_registry.networks.acceleration import accelerate, accelerated
from cnn_registry.networks.folding import fold_batch_norm
from cnn_registry.networks.precision import set_precision
from cnn_registry.recipes.load import load_recipe
from cnn_registry.training.optimizer import build_optimizer

keras = backend.keras()

STEPS = 10

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "clipnorm": 0.5},
    "adamw": {"weight_decay": 0.1, "clipnorm": 0.5},
}


@pytest.fixture(autouse=True)
def checked_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test makes the checks itself, on a processor on which all operations pay."""
    monkeypatch.setattr(backend, "cpu_flags", lambda: frozenset({"avx2"}))
    forget_checks()
    yield
    monkeypatch.undo()
    forget_checks()


def forget_checks() -> None:
    internals = [vars(keras_internals)[module.name] for module in pkgutil.iter_modules(keras_internals.__path__)]
    for module in (*internals, acceleration):
        for function in vars(module).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()


def rename(monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    """Give an attribute another name throughout Keras, as a newer version of it may."""
    new = f"{old}_of_a_newer_version"
    classes = [
        thing
        for name, module in list(sys.modules.items())
        if name.startswith("keras.src")
        for thing in vars(module).values()
        if isinstance(thing, type) and old in vars(thing)
    ]
    using = functions_by_name().get(old, [])
    for function in using:
        monkeypatch.setattr(function, "__code__", renamed(function.__code__, old, new))
    assert classes or using, f"nothing in Keras is called {old}"
    for cls in dict.fromkeys(classes):
        monkeypatch.setattr(cls, new, vars(cls)[old], raising=False)
        monkeypatch.delattr(cls, old)


@cache
def functions_by_name() -> dict[str, list[FunctionType]]:
    """Keras' functions, by the names in their code and in that of the functions within it."""
    gc.unfreeze()  # those that conftest.py has frozen are not listed otherwise
    functions = [
        thing
        for thing in gc.get_objects()
        if isinstance(thing, FunctionType) and str(thing.__module__).startswith("keras.src")
    ]
    gc.collect()
    gc.freeze()
    found: dict[str, list[FunctionType]] = {}
    for function in functions:
        for name in names_in(function.__code__):
            found.setdefault(name, []).append(function)
    return found


def names_in(code: CodeType) -> set[str]:
    constants = {item for item in code.co_consts if isinstance(item, str)}
    inner = (names_in(item) for item in code.co_consts if isinstance(item, CodeType))
    return constants.union(code.co_names, *inner)


def renamed(code: CodeType, old: str, new: str) -> CodeType:
    """The code with another name for an attribute, in the functions within it as well."""
    consts = tuple(renamed(item, old, new) if isinstance(item, CodeType) else item for item in code.co_consts)
    consts = tuple(new if isinstance(item, str) and item == old else item for item in consts)
    names = tuple(new if name == old else name for name in code.co_names)
    unchanged = names == code.co_names and all(one is other for one, other in zip(consts, code.co_consts, strict=True))
    return code if unchanged else code.replace(co_names=names, co_consts=consts)


def network() -> Any:
    """A network of the layers that are replaced, with the same weights each time."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 1, use_bias=False, name="conv")(inputs)
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="bn")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(4, 1, name="conv2")(x))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="dense")(x))


def trained(optimizer: Any, *, faster: bool) -> list[np.ndarray]:
    """The weights of a network after some steps."""
    model = network()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", jit_compile=False)
    random = np.random.default_rng(0)
    undo = accelerate(model) if faster else None
    for _ in range(STEPS):
        images, labels = random.normal(size=(6, 8, 8, 3)).astype("float32"), np.eye(3)[random.integers(0, 3, 6)]
        model.train_on_batch(images, labels)
    if undo:
        undo()
    weights: list[np.ndarray] = model.get_weights()
    return weights


def ours(name: str) -> Any:
    settings = {f"optimizer.{key}": value for key, value in SETTINGS[name].items()}
    recipe = load_recipe("article").with_settings(settings | {"optimizer.name": name, "optimizer.learning_rate": 0.05})
    return build_optimizer(recipe, 5)


@cache
def by_plain_keras(name: str) -> list[np.ndarray]:
    settings = {key: value for key, value in SETTINGS[name].items() if key != "clipnorm"}
    kind = {"sgd": keras.optimizers.SGD, "adamw": keras.optimizers.AdamW}[name]
    optimizer = kind(learning_rate=0.05, global_clipnorm=SETTINGS[name]["clipnorm"], **settings)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return trained(optimizer, faster=False)


def assert_plain(name: str, found: list[np.ndarray]) -> None:
    expected = by_plain_keras(name)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)


NOTHING = ""
BOTH = "the optimizer takes the steps of plain Keras"
LAYERS = "training steps are those of plain Keras"


@pytest.mark.parametrize(
    ("optimizer", "name", "line"),
    [
        ("sgd", None, NOTHING),
        ("adamw", None, NOTHING),
        ("sgd", "_apply_weight_decay", NOTHING),
        ("adamw", "_apply_weight_decay", NOTHING),
        ("sgd", "_clip_gradients", NOTHING),
        ("adamw", "_backend_apply_gradients", NOTHING),
        ("sgd", "_backend_update_step", NOTHING),
        ("sgd", "_get_variable_index", NOTHING),
        ("sgd", "_use_weight_decay", BOTH),
        ("adamw", "_use_weight_decay", BOTH),
        ("sgd", "_trainable_variables", BOTH),
        ("sgd", "momentums", BOTH),
        ("adamw", "_momentums", BOTH),
        ("adamw", "_velocities", BOTH),
        ("sgd", "apply", BOTH),
        ("sgd", "global_clipnorm", BOTH),
        ("adamw", "weight_decay", BOTH),
        ("sgd", "call", LAYERS),
        ("sgd", "convolution_op", LAYERS),
        ("sgd", "_inbound_nodes", "batch normalisation is not folded"),
        ("sgd", "renorm", "BatchNormalization has no attribute 'renorm'"),
        ("sgd", "synchronized", "BatchNormalization has no attribute 'synchronized'"),
        ("sgd", "moving_variance", "they are those of plain Keras"),
    ],
)
def test_steps_are_those_of_plain_keras_whatever_is_renamed(
    optimizer: str, name: str | None, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    by_plain_keras(optimizer)
    if name:
        rename(monkeypatch, name)
    found = trained(ours(optimizer), faster=True)
    lines = [text for text in capfd.readouterr().err.splitlines() if text.startswith("In Keras ")]
    assert len(lines) == bool(line)
    assert line in "".join(lines)
    assert_plain(optimizer, found)


def test_a_decay_that_keras_applies_in_another_way_is_applied_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Newer steps decay by a square; ours does not know."""

    def decay(self: Any, variables: Any) -> None:
        for variable in variables:
            variable.assign(variable * (1 - self.weight_decay * self.learning_rate) ** 2)

    for cls in keras.optimizers.SGD.__mro__:
        if "_apply_weight_decay" in vars(cls):
            monkeypatch.setattr(cls, "_apply_weight_decay", decay)
    expected, found = (trained(ours("sgd"), faster=faster) for faster in (False, True))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-3, atol=2e-5)
    assert BOTH in capfd.readouterr().err


@pytest.mark.parametrize("name", ["_keras_history", "_inbound_nodes"])
def test_where_the_graph_cannot_be_read_layers_stay_in_float32(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rename(monkeypatch, name)
    model = network()
    set_precision(model, "bfloat16")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert "layers compute in float32" in capfd.readouterr().err


def test_where_policies_cannot_be_set_layers_stay_in_float32(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keras.layers.Layer, "dtype_policy", property(keras.layers.Layer.dtype_policy.fget))
    model = network()
    set_precision(model, "bfloat16")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert "the dtype policies of built layers are not as expected" in capfd.readouterr().err


def test_where_methods_cannot_be_replaced_layers_with_a_bias_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' gradient of a bias is inexact in bfloat16."""
    rename(monkeypatch, "convolution_op")
    model = network()
    set_precision(model, "bfloat16")
    kinds = {layer.name: layer.compute_dtype for layer in model.layers}
    assert (kinds["conv"], kinds["conv2"], kinds["relu"]) == ("bfloat16", "float32", "bfloat16")


def test_nothing_is_folded_where_the_graph_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert len(fold_batch_norm(network()).layers) == len(network().layers) - 1
    forget_checks()
    rename(monkeypatch, "_inbound_nodes")
    model = network()
    assert fold_batch_norm(model) is model
    assert "batch normalisation is not folded" in capfd.readouterr().err


def test_checks_are_made_once_and_draw_no_random_numbers(capfd: pytest.CaptureFixture[str]) -> None:
    def drawn(*, faster: bool) -> list[np.ndarray]:
        model = network()
        optimizer = ours("sgd")
        optimizer.build(model.trainable_variables)
        model.compile(optimizer=optimizer, loss="mse")
        if faster:
            set_precision(model, "bfloat16")
            accelerate(model)()
        return [keras.layers.Dense(2)(np.ones((1, 2))), keras.random.normal((3,), seed=keras.random.SeedGenerator())]

    for one, other in zip(drawn(faster=False), drawn(faster=True), strict=True):
        np.testing.assert_array_equal(one, other)
    assert drawn(faster=True)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", [*MODEL_NEEDS, "_maybe_symbolic_build", "_all_reduce_sum_gradients"])
def test_several_replicas_train_only_where_all_is_there_that_they_need(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    model.compile(optimizer=ours("sgd"), loss="mse")
    require_shareable_steps(model, mirrored=True)
    for owner in (model, model.optimizer):
        vars(owner).pop(name, None)
        for kind in type(owner).__mro__:
            if name in vars(kind):
                monkeypatch.delattr(kind, name)
    with pytest.raises(BackendError, match=rf"has no '{name}', on which .* Use --distribute none"):
        require_shareable_steps(model, mirrored=True)


def test_objects_have_their_own_methods_back() -> None:
    model = network()
    optimizer = ours("sgd")
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, loss="mse")
    before = [dict(vars(thing)) for thing in (*model.layers, optimizer)]
    with accelerated(model):
        during = [dict(vars(thing)) for thing in (*model.layers, optimizer)]
        assert sum(one != other for one, other in zip(before, during, strict=True)) == 4
    assert [dict(vars(thing)) for thing in (*model.layers, optimizer)] == before


@pytest.mark.parametrize(
    "settings",
    [{"use_ema": True}, {"clipvalue": 0.5}, {"clipnorm": 0.5}],
)
def test_optimizers_with_other_settings_take_their_own_steps(
    settings: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    optimizer = keras.optimizers.SGD(0.1, **settings)
    optimizer.build([keras.Variable(np.ones(3, "float32"))])
    assert one_operation_step(optimizer) is None
    assert f"SGD has other settings than expected ({next(iter(settings))}" in capfd.readouterr().err
    accumulates = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)  # a setting of recipes, so without a note
    for other in (keras.optimizers.Adam(amsgrad=True), accumulates):
        other.build([keras.Variable(np.ones(3, "float32"))])
        assert one_operation_step(other) is None


def test_other_optimizers_take_their_own_steps() -> None:
    class Mine(keras.optimizers.SGD):  # type: ignore[misc, name-defined]  # Keras ships no type information
        pass

    for optimizer in (Mine(), keras.optimizers.RMSprop(), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())):
        optimizer.build([keras.Variable(np.ones(3, "float32"))])
        assert one_operation_step(optimizer) is None


def test_a_step_keeps_constraints_and_missing_gradients_as_keras_does() -> None:
    found = []
    for faster in (False, True):
        optimizer = ours("sgd")
        free, bound = (keras.Variable(np.ones((2, 2), "float32"), name="kernel") for _ in range(2))
        bound.constraint = keras.constraints.MaxNorm(0.1)
        optimizer.build([free, bound])
        step = one_operation_step(optimizer) if faster else optimizer.apply
        assert step is not None
        gradient = keras.ops.ones((2, 2))
        step([gradient, gradient], [free, bound])
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            step([None, gradient], [free, bound])
        found.append([free.numpy(), bound.numpy(), optimizer.iterations.numpy()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert np.linalg.norm(found[1][1][:, 0]) <= 0.1001


def test_where_workers_cannot_be_asked_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Strategy:
        class extended:  # noqa: N801 - TensorFlow's name
            pass

    assert keras_internals.peers(Strategy) is None
    assert "workers cannot be asked whether they are there" in capfd.readouterr().err
