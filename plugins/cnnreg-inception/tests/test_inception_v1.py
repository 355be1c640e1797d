"""GoogLeNet's two forms and what their auxiliary heads do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model, get_spec
from cnn_registry.errors import UsageError

NAMES = pytest.mark.parametrize("name", ["inception_v1", "inception_v1_bn"])
SHAPE = (64, 80, 3)
BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


@cache
def described(name: str, **arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory, built once for all tests: do not change it."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@cache
def with_heads(name: str) -> tuple[Any, list[np.ndarray]]:
    """The model with its auxiliary heads, built once for all tests, and the weights that it starts with."""
    keras.utils.set_random_seed(0)
    model = create_model(name, num_classes=5, input_shape=SHAPE, aux_heads=True)
    return model, model.get_weights()


@pytest.fixture
def headed(name: str) -> Any:
    """The model with its auxiliary heads, as it was before any training."""
    model, weights = with_heads(name)
    model.set_weights(weights)
    return model


def kernels(model: Any) -> dict[str, Any]:
    return {layer.name: layer.kernel for layer in model.layers if hasattr(layer, "kernel")}


@pytest.mark.parametrize(
    ("name", "options", "trainable"),
    [
        ("inception_v1", {}, 6_998_552),
        ("inception_v1", {"aux_heads": True}, 13_378_280),
        ("inception_v1_bn", {}, 6_624_904),
        ("inception_v1_bn", {"aux_heads": True}, 13_004_888),
    ],
)
def test_parameters_of_the_forms(name: str, options: dict[str, Any], trainable: int) -> None:
    model = described(name, **options)
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == trainable


@NAMES
def test_the_third_branch_has_either_kernel(name: str) -> None:
    default = {"inception_v1": 5, "inception_v1_bn": 3}[name]
    assert get_spec(name).options["large_kernel"] == default
    for size in (3, 5):
        convs = kernels(described(name, large_kernel=size))
        assert {convs[f"inception_{block}_5x5"].shape[:2] for block in BLOCKS} == {(size, size)}


@NAMES
def test_another_kernel_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"^large_kernel must be 5 or 3; got 7\.$"):
        described(name, large_kernel=7)


@pytest.mark.parametrize("shape", [(224, 224), (65, 98), (15, 34)])
def test_poolings_are_those_of_ceil_mode(shape: tuple[int, int]) -> None:
    """Windows start at every second pixel; the last may pass the end, but does not start beyond it."""
    model = described("inception_v1_bn", input_shape=(*shape, 3))
    sizes = [math.ceil(n / 2) for n in shape]
    for pool, window in (("pool1", 3), ("pool2", 3), ("pool3", 3), ("pool4", 2)):
        sizes = [math.ceil((n - window) / 2) + 1 for n in sizes]
        assert list(model.get_layer(pool).output.shape[1:3]) == sizes


def test_pooling_takes_the_maximum_of_each_window() -> None:
    shape = (22, 33)  # maps of 11x17, then 5x8: odd beside even
    keras.utils.set_random_seed(0)
    model = create_model("inception_v1_bn", input_shape=(*shape, 3), num_classes=2)
    outputs = {"before": model.get_layer("conv2_relu").output, "after": model.get_layer("pool2").output}
    maps = keras.Model(model.input, outputs)(images(2, *shape, 3))
    before, after = np.asarray(maps["before"]), np.asarray(maps["after"])
    assert before.shape[1:3] == (5, 8)
    for row, column in np.ndindex(*after.shape[1:3]):
        window = before[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        np.testing.assert_array_equal(after[:, row, column], window.max(axis=(1, 2)))


def test_at_even_sizes_ceil_mode_is_same_padding() -> None:
    maps = images(1, 8, 12, 2)
    padded = np.pad(maps, [(0, 0), (0, 1), (0, 1), (0, 0)])
    same = keras.layers.MaxPooling2D(3, strides=2, padding="same")(maps)
    np.testing.assert_array_equal(same, keras.layers.MaxPooling2D(3, strides=2)(padded))


@pytest.mark.parametrize(
    ("name", "size", "values"),
    [
        ("inception_v1", 224, 2048),
        ("inception_v1", 16, 128),
        ("inception_v1", 320, 4608),
        ("inception_v1_bn", 224, 2048),
        ("inception_v1_bn", 16, 2048),
        ("inception_v1_bn", 320, 2048),
    ],
)
def test_heads_are_built_at_any_size(name: str, size: int, values: int) -> None:
    model = described(name, input_shape=(size, size, 3), num_classes=5, aux_heads=True)
    assert {head: tensor.shape for head, tensor in model.output.items()} == dict.fromkeys(
        ("predictions", "aux1", "aux2"), (None, 5)
    )
    assert [kernels(model)[f"{head}_fc"].shape for head in ("aux1", "aux2")] == [(values, 1024)] * 2
    assert [model.get_layer(f"{head}_dropout").rate for head in ("aux1", "aux2")] == [0.7, 0.7]


@pytest.mark.parametrize(("name", "head", "last"), [("inception_v1", "aux1", "4a"), ("inception_v1_bn", "aux2", "4d")])
def test_a_heads_gradient_reaches_its_branch_and_the_trunk_below(headed: Any, head: str, last: str) -> None:
    model = headed
    weights = kernels(model)
    before = {layer: np.array(kernel) for layer, kernel in weights.items()}
    # The other outputs' losses have a weight of 0, so that whatever moves is moved by this head alone.
    model.compile(
        keras.optimizers.SGD(1.0),
        loss=dict.fromkeys(model.output, "categorical_crossentropy"),
        loss_weights={output: float(output == head) for output in model.output},
        run_eagerly=True,
    )
    labels = np.eye(5, dtype="float32")[:4]
    model.train_on_batch(images(4, *SHAPE), dict.fromkeys(model.output, labels))
    moved = {layer for layer, kernel in weights.items() if not np.array_equal(kernel, before[layer])}
    below = BLOCKS[: BLOCKS.index(last) + 1]
    trunk = {layer for layer in weights if layer.startswith(("conv", *(f"inception_{block}_" for block in below)))}
    assert moved == trunk | {f"{head}_conv", f"{head}_fc", head}


@NAMES
def test_the_heads_losses_count_for_three_tenths(name: str) -> None:
    assert get_spec(name).aux_heads == {"aux1": 0.3, "aux2": 0.3}


@NAMES
def test_weights_trained_with_heads_fit_the_network_without(name: str, headed: Any, tmp_path: Path) -> None:
    model, random = headed, np.random.default_rng(0)
    model.set_weights([weight * random.uniform(0.5, 1.5) for weight in model.get_weights()])
    keras.Model(model.input, model.output["predictions"]).save_weights(tmp_path / "main.weights.h5")
    plain = create_model(name, num_classes=5, input_shape=SHAPE, weights=tmp_path / "main.weights.h5")
    np.testing.assert_allclose(plain(images(2, *SHAPE)), model(images(2, *SHAPE))["predictions"], atol=1e-6)
