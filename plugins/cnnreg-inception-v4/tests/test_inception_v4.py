import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from cnnreg_inception_v4._weights import keras_names

from cnn_registry import create_model, get_spec
from cnn_registry.errors import InputShapeError, UsageError

NAMES = pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v1", "inception_resnet_v2"])
RESNETS = pytest.mark.parametrize("name", ["inception_resnet_v1", "inception_resnet_v2"])


OPTIONS: dict[str, Any] = {"dropout": 0.5, "classifier_activation": None}


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


@cache
def described(name: str, **arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory, built once for all tests: do not change it."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


@pytest.mark.parametrize(
    ("name", "without", "with_"),
    [
        ("inception_v4", 42_648_232, 42_679_816),
        ("inception_resnet_v1", 22_742_808, 22_756_328),
        ("inception_resnet_v2", 55_813_192, 55_843_464),
    ],
)
def test_parameters_without_and_with_scale(name: str, without: int, with_: int) -> None:
    assert get_spec(name).trainable_params == (with_ if name == "inception_v4" else without), "its default"
    other = described(name, scale=name != "inception_v4", **OPTIONS)
    assert count(other.trainable_weights) == (without if name == "inception_v4" else with_)


def test_multiply_adds_of_inception_v4_are_the_published_ones() -> None:
    assert get_spec("inception_v4").macs == pytest.approx(12.28e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "after_reductions"),
    [("inception_v4", (1024, 1536)), ("inception_resnet_v1", (896, 1792)), ("inception_resnet_v2", (1088, 2080))],
)
def test_reductions_give_the_sizes_and_channels_of_the_figures(name: str, after_reductions: tuple[int, int]) -> None:
    model, (after_a, after_b) = described(name), after_reductions
    assert model.get_layer("reduction_a_concat").output.shape == (None, 17, 17, after_a)
    assert model.get_layer("reduction_b_concat").output.shape == (None, 8, 8, after_b)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("inception_v4", {"inception_a": 4, "inception_b": 7, "inception_c": 3}),
        ("inception_resnet_v1", {"inception_resnet_a": 5, "inception_resnet_b": 10, "inception_resnet_c": 5}),
        ("inception_resnet_v2", {"inception_resnet_a": 10, "inception_resnet_b": 20, "inception_resnet_c": 10}),
    ],
)
def test_layers_are_named_after_their_stages(name: str, blocks: dict[str, int]) -> None:
    stages = {f"{block}{number}_" for block, repeats in blocks.items() for number in range(1, repeats + 1)}
    others = {"stem_", "reduction_a_", "reduction_b_", "final_conv", "avg_pool", "dropout", "predictions"}
    names = [layer.name for layer in described(name).layers[1:]]
    assert all(name.startswith((*stages, *others)) for name in names)
    assert all(any(name.startswith(stage) for name in names) for stage in stages)


@NAMES
def test_options_reach_the_layers(name: str) -> None:
    assert described(name).get_layer("dropout").rate == 0.2
    model = described(name, scale=name != "inception_v4", **OPTIONS)
    assert model.get_layer("dropout").rate == 0.5
    assert model.get_layer("predictions").activation is keras.activations.linear
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-3)}


@NAMES
def test_too_small_images_are_refused(name: str) -> None:
    with pytest.raises(InputShapeError, match=rf"^{name} needs images of at least 75x75 pixels; got 299x74\.$"):
        described(name, input_shape=(299, 74, 3))


@RESNETS
@pytest.mark.parametrize("value", [0.1, (0.1, 0.2), "abcd"])
def test_residual_scale_that_is_not_three_numbers_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=r"^residual_scale must be three numbers, one each for the blocks A, B and C"):
        described(name, residual_scale=value)


def test_residual_scale_zero_leaves_the_shortcut() -> None:
    """Both networks are of the same blocks; this is the smaller one."""
    model = create_model("inception_resnet_v1", input_shape=(75, 75, 3), num_classes=2, residual_scale=(0.0, 0.5, 1.0))
    layers = ("reduction_a_concat", "inception_resnet_b1_up", "inception_resnet_b1_relu")
    first, first_sum = "stem_conv6_relu", "inception_resnet_a5_relu"
    maps = keras.Model(model.input, [model.get_layer(layer).output for layer in (first, first_sum, *layers)])
    images = np.random.default_rng(0).random((2, 75, 75, 3), np.float32)
    before, after, x, up, total = (np.asarray(map_) for map_ in maps(images))
    np.testing.assert_array_equal(before, after)
    np.testing.assert_allclose(total, np.maximum(x + 0.5 * up, 0), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def pair() -> Sequence[Any]:
    """Our network and that of keras.applications, with the same random weights in all layers."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    theirs = keras.applications.InceptionResNetV2(weights=None, classes=10, input_shape=(139, 139, 3))
    random = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
            beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    random.normal(0, 0.1, beta.shape),
                    random.normal(0, 0.1, mean.shape),
                    random.uniform(0.5, 1.5, variance.shape),
                ]
            )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("keras.applications.InceptionResNetV2", lambda weights: theirs)
        ours = create_model(
            "inception_resnet_v2", num_classes=10, input_shape=(139, 139, 3), weights="keras:imagenet", dropout=0.0
        )
    return ours, theirs


@pytest.mark.slow
def test_inception_resnet_v2_computes_what_keras_applications_does(pair: Sequence[Any]) -> None:
    ours, theirs = pair
    images = np.random.default_rng(1).normal(size=(4, 139, 139, 3)).astype("float32")
    for training in (False, True):
        probabilities = np.asarray(theirs(images, training=training))
        assert probabilities.std(axis=0).max() > 1e-4  # images differ by more than the tolerance
        np.testing.assert_allclose(np.asarray(ours(images, training=training)), probabilities, rtol=0, atol=1e-5)
    for our_name, their_name in keras_names().items():
        for our_weight, their_weight in zip(
            ours.get_layer(our_name).get_weights(), theirs.get_layer(their_name).get_weights(), strict=True
        ):
            np.testing.assert_allclose(our_weight, their_weight, rtol=1e-4, atol=1e-5)
