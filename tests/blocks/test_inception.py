from typing import Any

import pytest

from cnn_registry import backend
from cnn_registry.blocks import InceptionBlock_1, InceptionBlock_2, InceptionBlock_3
from cnn_registry.errors import UsageError

keras = backend.keras()

FOUR = [(2,), (3, 4), (5, 6), (7,)]
TWO = [(3, 4), (5, 6)]


def built(block: Any, channels: Any, **options: Any) -> Any:
    inputs = keras.Input((9, 7, 8))
    return keras.Model(inputs, block(inputs, channels, **options))


@pytest.mark.parametrize("block", [InceptionBlock_1, InceptionBlock_3])
def test_four_branches_keep_the_size(block: Any) -> None:
    assert built(block, FOUR).output_shape == (None, 9, 7, 2 + 4 + 6 + 7)


def test_two_branches_halve_the_size_and_pass_the_pooled_channels_through() -> None:
    assert built(InceptionBlock_2, TWO).output_shape == (None, 5, 4, 4 + 6 + 8)


@pytest.mark.parametrize(
    ("block", "channels", "pooling"),
    [
        (InceptionBlock_1, FOUR, "AveragePooling2D"),
        (InceptionBlock_2, TWO, "MaxPooling2D"),
        (InceptionBlock_3, FOUR, "MaxPooling2D"),
    ],
)
def test_pooling_of_each_block(block: Any, channels: Any, pooling: str) -> None:
    assert type(built(block, channels, name="b").get_layer("b_pool")).__name__ == pooling


def test_channels_and_strides_of_each_convolution() -> None:
    model = built(InceptionBlock_2, TWO, name="b")
    convs = {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    assert {name: (conv.kernel_size[0], conv.strides[0], conv.filters) for name, conv in convs.items()} == {
        "b_3x3_reduce": (1, 1, 3),
        "b_3x3": (3, 2, 4),
        "b_double3x3_reduce": (1, 1, 5),
        "b_double3x3_1": (3, 1, 6),
        "b_double3x3_2": (3, 2, 6),
    }


def test_four_branches_have_stable_names() -> None:
    names = [layer.name for layer in built(InceptionBlock_1, FOUR, name="b", order="bn_relu").layers[1:]]
    convs = ["1x1", "3x3_reduce", "3x3", "double3x3_reduce", "double3x3_1", "double3x3_2", "pool_proj"]
    expected = [f"b_{conv}{suffix}" for conv in convs for suffix in ("", "_bn", "_relu")] + ["b_pool", "b_concat"]
    assert sorted(names) == sorted(expected)


@pytest.mark.parametrize(
    ("block", "channels", "convolutions"),
    [(InceptionBlock_1, FOUR, 7), (InceptionBlock_2, TWO, 5), (InceptionBlock_3, FOUR, 7)],
)
def test_options_reach_every_convolution(block: Any, channels: Any, convolutions: int) -> None:
    model = built(
        block, channels, order="bn_relu", use_bias=False, kernel_initializer="he_normal", momentum=0.8, epsilon=1e-5
    )
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    activations = [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)]
    assert len(convs) == len(norms) == len(activations) == convolutions
    assert not any(conv.use_bias for conv in convs)
    assert all(isinstance(conv.kernel_initializer, keras.initializers.HeNormal) for conv in convs)
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.8, 1e-5)}


@pytest.mark.parametrize("block", [InceptionBlock_1, InceptionBlock_2, InceptionBlock_3])
@pytest.mark.parametrize(
    "channels",
    [
        [],
        [(2,), (3, 4), (5, 6)],
        [(2,), (3,), (5, 6), (7,)],
        [(2,), (3, 4), (5, 6, 6), (7,)],
        [2, (3, 4), (5, 6), 7],
    ],
)
def test_wrong_branches_are_refused_in_one_line(block: Any, channels: Any) -> None:
    with pytest.raises(UsageError) as error:
        built(block, channels)
    message = str(error.value)
    assert message.startswith(f"{block.__name__} expects numbers of channels as [(")
    assert repr(channels) in message
    assert "\n" not in message


def test_unknown_order_is_refused() -> None:
    with pytest.raises(UsageError, match="order must be"):
        built(InceptionBlock_1, FOUR, order="relu")
