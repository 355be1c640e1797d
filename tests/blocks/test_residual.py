from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.blocks import BasicBlock, BottleneckBlock, ConvOptions, PreactBottleneckBlock
from cnn_registry.errors import UsageError

keras = backend.keras()

PAPER: ConvOptions = {"order": "bn_relu", "use_bias": False, "kernel_initializer": "he_normal"}
BLOCKS = pytest.mark.parametrize(
    ("block", "expansion"), [(BasicBlock, 1), (BottleneckBlock, 4), (PreactBottleneckBlock, 4)]
)


def network(block: Callable[..., Any], channels: int, *arguments: Any, **options: Any) -> Any:
    inputs = keras.Input((9, 6, channels))
    return keras.Model(inputs, block(inputs, *arguments, **options))


def maps(channels: int) -> Any:
    return np.random.default_rng(0).normal(size=(4, 9, 6, channels)).astype("float32")


def names(model: Any) -> set[str]:
    return {layer.name for layer in model.layers[1:]}


def kernels(model: Any) -> dict[str, tuple[Any, ...]]:
    """Kernel size, stride and output channels of each convolution."""
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return {conv.name: (conv.kernel_size[0], conv.strides[0], conv.filters) for conv in convs}


@BLOCKS
def test_a_stride_of_two_halves_and_rounds_up(block: Callable[..., Any], expansion: int) -> None:
    assert network(block, 3, 8, 2).output_shape == (None, 5, 3, 8 * expansion)
    assert network(block, 8 * expansion, 8, 2).output_shape == (None, 5, 3, 8 * expansion)


@BLOCKS
def test_shortcut_has_weights_only_where_the_channels_change(block: Callable[..., Any], expansion: int) -> None:
    assert "b_shortcut" not in kernels(network(block, 8 * expansion, 8, name="b"))
    assert kernels(network(block, 3, 8, name="b"))["b_shortcut"] == (1, 1, 8 * expansion)


def test_basic_block() -> None:
    model = network(BasicBlock, 4, 4, name="b", **PAPER)
    assert kernels(model) == {"b_conv1": (3, 1, 4), "b_conv2": (3, 1, 4)}
    assert names(model) == {"b_conv1", "b_conv1_bn", "b_conv1_relu", "b_conv2", "b_conv2_bn", "b_add", "b_out"}


@pytest.mark.parametrize(("stride_in", "strides"), [("1x1", (2, 1)), ("3x3", (1, 2))])
def test_bottleneck_has_its_stride_where_asked(stride_in: str, strides: tuple[int, int]) -> None:
    model = network(BottleneckBlock, 6, 2, 2, stride_in=stride_in, name="b", **PAPER)
    assert kernels(model) == {
        "b_conv1": (1, strides[0], 2),
        "b_conv2": (3, strides[1], 2),
        "b_conv3": (1, 1, 8),
        "b_shortcut": (1, 2, 8),
    }


def test_unknown_place_of_the_stride() -> None:
    with pytest.raises(UsageError, match=r"^stride_in must be '3x3' or '1x1'; got '2x2'\.$"):
        network(BottleneckBlock, 6, 2, stride_in="2x2")


@pytest.mark.parametrize(("block", "expansion"), [(BasicBlock, 1), (BottleneckBlock, 4)])
@pytest.mark.parametrize("training", [False, True])
def test_zero_init_starts_as_the_shortcut(block: Callable[..., Any], expansion: int, training: bool) -> None:
    x = maps(2 * expansion)
    start = network(block, 2 * expansion, 2, zero_init=True, **PAPER)
    np.testing.assert_array_equal(np.asarray(start(x, training=training)), np.maximum(x, 0))
    otherwise = network(block, 2 * expansion, 2, **PAPER)
    assert np.abs(np.asarray(otherwise(x, training=training)) - np.maximum(x, 0)).max() > 0.1


def test_options_reach_every_convolution() -> None:
    model = network(BottleneckBlock, 3, 2, order="bn_relu", use_bias=False, activation="gelu", epsilon=0.1, name="b")
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [conv.use_bias for conv in convs] == [False] * 4
    assert [norm.epsilon for norm in norms] == [0.1] * 4
    assert {"b_conv1_gelu", "b_conv2_gelu"} <= names(model)
    assert model.get_layer("b_out").activation is keras.activations.gelu


def test_preactivation_leaves_the_identity_untouched() -> None:
    x = maps(8)
    np.testing.assert_array_equal(np.asarray(network(PreactBottleneckBlock, 8, 2, zero_init=True)(x)), x)
    assert np.abs(np.asarray(network(PreactBottleneckBlock, 8, 2)(x)) - x).max() > 0.1


def test_preactivation_shortcut_under_a_stride_is_every_second_pixel() -> None:
    model = network(PreactBottleneckBlock, 8, 2, 2, name="b")
    model.get_layer("b_conv3").kernel.assign(np.zeros((1, 1, 2, 8)))
    x = maps(8)
    np.testing.assert_array_equal(np.asarray(model(x)), x[:, ::2, ::2])


def test_preactivation_has_a_bias_where_no_normalisation_follows() -> None:
    model = network(PreactBottleneckBlock, 3, 2, momentum=0.9, name="b")
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {conv.name for conv in convs if conv.use_bias} == {"b_conv3", "b_shortcut"}
    assert model.get_layer("b_preact_bn").momentum == model.get_layer("b_conv1_bn").momentum == 0.9


@BLOCKS
def test_both_sides_are_padded_alike_under_a_stride(block: Callable[..., Any], expansion: int) -> None:
    pads = [layer for layer in network(block, 3, 2, 2).layers if isinstance(layer, keras.layers.ZeroPadding2D)]
    assert [pad.padding for pad in pads] == [((1, 1), (1, 1))]
    assert not any(isinstance(layer, keras.layers.ZeroPadding2D) for layer in network(block, 3, 2, 1).layers)
