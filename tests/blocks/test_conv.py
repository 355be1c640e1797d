import itertools
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.blocks import Conv2D_BN, InceptionBlock_1, NearIdentity, Order, PreactBottleneckBlock
from cnn_registry.errors import UsageError

keras = backend.keras()


def layers(order: Any, **options: Any) -> list[Any]:
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, Conv2D_BN(inputs, 4, (3, 3), "same", 2, order=order, **options))
    return list(model.layers[1:])


def test_default_is_the_articles_order() -> None:
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, Conv2D_BN(inputs, 4, (3, 3), "same", 2))
    _, conv, norm = model.layers
    assert (type(conv), type(norm)) == (keras.layers.Conv2D, keras.layers.BatchNormalization)
    assert conv.activation is keras.activations.relu
    assert conv.use_bias
    assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)
    assert model.output_shape == (None, 4, 3, 4)


def test_bn_relu_normalises_before_it_activates() -> None:
    conv, norm, activation = layers("bn_relu")
    assert conv.activation is keras.activations.linear
    assert isinstance(norm, keras.layers.BatchNormalization)
    assert activation.activation is keras.activations.relu


def test_only_bn_relu_leaves_nothing_negative() -> None:
    images = np.random.default_rng(0).normal(size=(4, 8, 6, 3)).astype("float32")
    orders: tuple[Order, ...] = ("relu_bn", "bn_relu")
    lowest = {}
    for order in orders:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 6, 3))
        outputs = keras.Model(inputs, Conv2D_BN(inputs, 4, 3, "same", 1, order=order))(images, training=True)
        lowest[order] = float(np.min(outputs))
    assert lowest["relu_bn"] < 0
    assert lowest["bn_relu"] == 0


def test_options_reach_the_layers() -> None:
    conv, norm, activation = layers(
        "bn_relu", use_bias=False, activation="gelu", kernel_initializer="he_normal", momentum=0.8, epsilon=1e-5
    )
    assert not conv.use_bias
    assert isinstance(conv.kernel_initializer, keras.initializers.HeNormal)
    assert (norm.momentum, norm.epsilon) == (0.8, 1e-5)
    assert activation.activation is keras.activations.gelu


@pytest.mark.parametrize(
    "initializer",
    [
        "he_normal",
        {"class_name": "HeNormal", "config": {}},
        keras.initializers.HeNormal(),
        keras.initializers.HeNormal,
        NearIdentity(),
        lambda shape, dtype=None: keras.random.normal(shape, dtype=dtype),
    ],
    ids=["name", "configuration", "instance", "class", "ours", "function"],
)
@pytest.mark.parametrize("block", [Conv2D_BN, PreactBottleneckBlock, InceptionBlock_1])
def test_every_layer_draws_its_own_kernel_from_whatever_keras_accepts(block: Any, initializer: Any) -> None:
    arguments = {
        Conv2D_BN: (4, 3, "same", 1),
        PreactBottleneckBlock: (4,),
        InceptionBlock_1: ([(4,), (4, 4), (4, 4), (4,)],),
    }[block]
    inputs = x = keras.Input((8, 6, 4))
    for _ in range(2):
        x = block(x, *arguments, kernel_initializer=initializer)
    kernels = [np.asarray(layer.kernel) for layer in keras.Model(inputs, x).layers if hasattr(layer, "kernel")]
    alike = [
        (first, second)
        for first, second in itertools.combinations(range(len(kernels)), 2)
        if np.array_equal(kernels[first], kernels[second])
    ]
    assert len(kernels) > 1
    assert alike == []


def test_a_seeded_initializer_keeps_its_seed() -> None:
    conv, _ = layers("relu_bn", kernel_initializer=keras.initializers.HeNormal(seed=3))
    np.testing.assert_array_equal(conv.kernel, keras.initializers.HeNormal(seed=3)((3, 3, 3, 4)))


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("gelu", "c_gelu"),
        (keras.activations.gelu, "c_gelu"),
        (keras.layers.LeakyReLU(), "c_activation"),
        (lambda x: x, "c_activation"),
    ],
)
def test_any_activation_of_keras(activation: Any, name: str) -> None:
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, Conv2D_BN(inputs, 4, 3, "same", 1, order="bn_relu", activation=activation, name="c"))
    assert model.layers[-1].name == name


def test_padding_by_a_number_is_alike_on_all_sides() -> None:
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, Conv2D_BN(inputs, 4, 7, 3, 2, order="bn_relu", name="c"))
    assert [layer.name for layer in model.layers[1:]] == ["c_pad", "c", "c_bn", "c_relu"]
    assert model.get_layer("c_pad").padding == ((3, 3), (3, 3))
    assert model.output_shape == (None, 4, 3, 4)


def test_scale_can_start_at_zero() -> None:
    _, norm, _ = layers("bn_relu", gamma_initializer="zeros")
    assert norm.gamma.numpy().tolist() == [0] * 4


def test_without_scale_the_normalisation_learns_its_shift_alone() -> None:
    _, norm, _ = layers("bn_relu", scale=False)
    assert [weight.name for weight in norm.trainable_weights] == ["beta"]


@pytest.mark.parametrize(
    ("order", "names"), [("relu_bn", ["stem", "stem_bn"]), ("bn_relu", ["stem", "stem_bn", "stem_relu"])]
)
def test_layers_are_named_after_the_block(order: Order, names: list[str]) -> None:
    assert [layer.name for layer in layers(order, name="stem")] == names


def test_unknown_order_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^order must be 'relu_bn' or 'bn_relu'; got 'bn_rleu'\. Did you mean .*\?$"):
        layers("bn_rleu")
