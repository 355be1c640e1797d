"""Feature maps, networks without their top, and cost, on a network small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cnn_registry import Feature, backend, create_model, get_spec
from cnn_registry.errors import UsageError
from cnn_registry.networks.graph import Cost, cost, main_network


def test_cost_counts_each_kernel_at_each_place(two: str) -> None:
    macs = 4 * 4 * (3 * 3 * 2 * 4) + 2 * 2 * (3 * 3 * 2 * 6) + 6 * 10
    weights = (3 * 3 * 2 * 4 + 4) + (3 * 3 * 2 * 6 + 6) + (6 * 10 + 10)
    activations = 4 * 4 * 4 + 2 * 2 * 6 + 6 + 10
    assert cost(create_model(two, num_classes=10)) == Cost(macs, 4 * weights, 4 * activations)


def test_cost_counts_separable_convolutions_and_models_in_the_model() -> None:
    keras = backend.keras()
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.SeparableConv2D(5, 3, padding="same")(inputs)
    x = keras.Sequential([keras.layers.Conv2D(7, 2, strides=2), keras.layers.ReLU()])(x)
    counted = cost(keras.Model(inputs, x))
    assert counted.macs == 8 * 8 * (3 * 3 * 3 + 3 * 5) + 4 * 4 * (2 * 2 * 5 * 7)
    assert counted.activation_bytes == 4 * (8 * 8 * 5 + 4 * 4 * 7 + 4 * 4 * 7)


def test_cost_follows_the_image(two: str) -> None:
    small, large = (cost(create_model(two, input_shape=(size, size, 2))).macs - 6 * 1000 for size in (8, 16))
    assert large == 4 * small


def test_features_are_the_maps_of_their_layers(two: str) -> None:
    model = create_model(two, features=("stride4", "stride2"))
    images = np.random.default_rng(0).random((3, 8, 8, 2), np.float32)
    maps = model(images)
    assert {name: tuple(found.shape) for name, found in maps.items()} == {
        "stride4": (3, 2, 2, 6),
        "stride2": (3, 4, 4, 4),
    }
    assert get_spec(two).features["stride4"] == Feature("c2", (2, 2, 6))


@pytest.mark.parametrize(("pooling", "shape"), [(None, (None, 2, 2, 6)), ("avg", (None, 6)), ("max", (None, 6))])
def test_without_the_top(two: str, pooling: str | None, shape: tuple[int | None, ...]) -> None:
    model = create_model(two, include_top=False, pooling=pooling)  # type: ignore[arg-type]  # parametrised
    assert model.output_shape == shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"features": ("stride3",)}, r"no feature 'stride3'.*Did you mean 'stride.'.*stride2, stride4"),
        ({"features": "stride2"}, "features must be a list"),
        ({"features": ()}, "features must be names"),
        ({"pooling": "avg"}, "include_top=False"),
        ({"include_top": False, "pooling": "mean"}, "'avg', 'max' or None"),
    ],
)
def test_what_the_model_cannot_be_cut_into_is_refused(two: str, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model(two, **arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_a_model_that_names_no_features_has_no_headless_form(tiny: str) -> None:
    with pytest.raises(UsageError, match="names no features"):
        create_model(tiny, include_top=False)


def test_the_main_network_of_one_with_heads_has_the_plain_ones_weights(two: str) -> None:
    main = main_network(create_model(two, num_classes=3, aux_heads=True))
    plain = create_model(two, num_classes=3)
    assert [layer.name for layer in main.layers[1:]] == [layer.name for layer in plain.layers[1:]]
    assert main_network(plain) is plain
