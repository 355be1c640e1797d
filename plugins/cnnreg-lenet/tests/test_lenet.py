import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model
from cnn_registry.errors import InputShapeError, ModelBuildError, UsageError

VARIANTS = pytest.mark.parametrize("variant", ["modern", "paper"])


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    keras.utils.set_random_seed(0)
    yield
    keras.utils.clear_session(free_memory=False)


def built(**arguments: Any) -> Any:
    return create_model("lenet5", **{"num_classes": 10, **arguments})


def count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_modern_parameters_are_the_common_count() -> None:
    model = built()
    assert (count(model.trainable_weights), count(model.non_trainable_weights)) == (61_706, 0)


def test_paper_parameters_are_those_it_states_for_each_layer() -> None:
    model = built(variant="paper")
    trainable = {layer.name: count(layer.trainable_weights) for layer in model.layers if layer.weights}
    assert trainable == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164, "predictions": 0}
    assert count(model.trainable_weights) == 60_000
    assert count(model.non_trainable_weights) == 84 * 10


@VARIANTS
def test_layers_have_the_papers_sizes(variant: str) -> None:
    shapes = {layer.name: layer.output.shape[1:] for layer in built(variant=variant).layers}
    assert shapes == {
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "c5": (1, 1, 120),
        "flatten": (120,),
        "f6": (84,),
        "predictions": (10,),
    }


@VARIANTS
def test_both_take_colour_images_and_learn_from_them(variant: str) -> None:
    model = built(variant=variant, input_shape=(32, 32, 3), num_classes=2)
    before = [weight.numpy() for weight in model.trainable_weights]
    codes = [weight.numpy() for weight in model.non_trainable_weights]
    x, y = images(8, 32, 32, 3), np.arange(8) % 2
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all(np.any(old != new.numpy()) for old, new in zip(before, model.trainable_weights, strict=True))
    assert all(np.all(old == new.numpy()) for old, new in zip(codes, model.non_trainable_weights, strict=True))


@VARIANTS
def test_larger_images_enlarge_c5(variant: str) -> None:
    model = built(variant=variant, input_shape=(36, 40, 1))
    assert model.get_layer("c5").output.shape == (None, 2, 3, 120)
    probabilities = np.asarray(model(images(2, 36, 40, 1)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_partial_convolution_is_a_full_one_with_zeros_where_table_1_has_none() -> None:
    model = built(variant="paper")
    c3, s2 = model.get_layer("c3"), images(2, 14, 14, 6)
    c3.bias.assign(images(16))
    # Table I, a row for each map of S2.
    table = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    connected = np.array([[cell == "X" for cell in row] for row in table])
    assert connected.sum() == c3.kernel.shape[-1] == 60

    kernel = np.zeros((5, 5, 6, 16), "float32")
    for number, channel in np.argwhere(connected.T):
        # Within a map the slices stand in the order of the layer's own list, which may begin at any of them.
        i = sum(map(len, c3.connections[:number])) + c3.connections[number].index(channel)
        kernel[:, :, channel, number] = c3.kernel.numpy()[:, :, i]
    expected = 1.7159 * np.tanh(2 / 3 * (np.asarray(keras.ops.conv(s2, kernel)) + c3.bias.numpy()))
    np.testing.assert_allclose(c3(s2), expected, rtol=1e-4, atol=1e-5)


def test_partial_convolution_starts_as_a_full_one_does() -> None:
    kernel = built(variant="paper", kernel_initializer="he_normal").get_layer("c3").kernel.numpy()
    assert kernel.std() == pytest.approx(math.sqrt(2 / (5 * 5 * 6)), rel=0.1)


def test_subsampling_adds_scales_shifts_and_squashes() -> None:
    s2 = built(variant="paper").get_layer("s2")
    factor, bias, x = images(6), images(6) + 1, images(2, 28, 28, 6)
    s2.factor.assign(factor)
    s2.bias.assign(bias)
    sums = x.reshape(2, 14, 2, 14, 2, 6).sum(axis=(2, 4))
    np.testing.assert_allclose(s2(x), 1.7159 * np.tanh(2 / 3 * (sums * factor + bias)), rtol=1e-4, atol=1e-5)


def test_nearest_code_gives_the_greatest_output() -> None:
    logits = built(variant="paper", classifier_activation=None).get_layer("predictions")
    codes = logits.codes.numpy()
    assert set(np.unique(codes)) == {-1, 1}
    outputs = np.asarray(logits(codes.T))
    np.testing.assert_array_equal(np.diag(outputs), 0)
    # Two codes that differ in n places are 2 ** 2 * n apart.
    np.testing.assert_array_equal(outputs, -4 * (codes[:, :, None] != codes[:, None, :]).sum(axis=0))
    assert (outputs < 0).sum() == 10 * 9


def test_codes_are_always_the_same() -> None:
    first, second = (built(variant="paper").get_layer("predictions").codes.numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@VARIANTS
def test_saved_model_gives_the_same(variant: str, tmp_path: Path) -> None:
    model = built(variant=variant)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images(2, 32, 32, 1)), model(images(2, 32, 32, 1)))


def test_options_reach_the_layers() -> None:
    model = built(kernel_initializer="he_uniform", classifier_activation=None)
    weighted = [layer for layer in model.layers if layer.weights]
    assert len(weighted) == 5
    assert all(isinstance(layer.kernel_initializer, keras.initializers.HeUniform) for layer in weighted)
    assert model.get_layer("predictions").activation is keras.activations.linear


def test_unknown_variant_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"'modern' or 'paper'; got 'papre'\. Did you mean 'paper'\?$"):
        built(variant="papre")


def test_unknown_initializer_is_one_line() -> None:
    with pytest.raises(ModelBuildError, match=r"^lenet5 could not be built .*nonsense") as error:
        built(kernel_initializer="nonsense")
    assert "\n" not in str(error.value)


def test_smallest_input_is_as_declared() -> None:
    with pytest.raises(InputShapeError, match=r"^lenet5 needs images of at least 32x32 pixels; got 28x28\.$"):
        built(input_shape=(28, 28, 1))
