import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from cnn_registry import create_model, get_spec, load_recipe
from cnn_registry.errors import InputShapeError, ModelBuildError


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


MODELS = pytest.mark.parametrize("name", ["alexnet", "alexnet_bn", "alexnet_paper", "alexnet_owt"])


@cache
def described(name: str, **arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory, built once for all tests: do not change it."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model(name, **arguments)


def count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def output_shapes(model: Any, *layers: str) -> list[tuple[int, ...]]:
    return [model.get_layer(layer).output.shape[1:] for layer in layers]


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("alexnet", {}, 76_009_832),
        ("alexnet", {"num_classes": 17}, 71_982_481),
        ("alexnet_paper", {}, 60_965_224),
        ("alexnet_paper", {"groups": 1}, 62_378_344),
        ("alexnet_owt", {}, 61_100_840),
        # As many channels more out of the fourth convolution and into the fifth.
        ("alexnet_owt", {"conv4_filters": 384}, 61_100_840 + 128 * (9 * 384 + 1) + 9 * 128 * 256),
        ("alexnet_owt", {"input_shape": (95, 130, 3)}, 61_100_840),
    ],
)
def test_parameters(name: str, options: dict[str, Any], parameters: int) -> None:
    model = described(name, **options)
    assert count(model.trainable_weights) == model.count_params() == parameters


@MODELS
def test_the_default_recipe_trains_photographs_at_sizes_with_the_same_weights(name: str) -> None:
    spec = get_spec(name)
    recipe = load_recipe("default").with_settings(spec.recipe_settings.get("default", {}))
    assert recipe.photos is not None
    sizes = {recipe.photos.size, *recipe.photos.train_sizes}
    assert len({described(name, input_shape=(size, size, 3)).count_params() for size in sizes}) == 1


def test_batch_normalisation_leaves_convolutions_as_they_are() -> None:
    plain, normalised = described("alexnet"), described("alexnet_bn")
    for layer in plain.layers:
        shapes = [[weight.shape for weight in model.get_layer(layer.name).weights] for model in (plain, normalised)]
        assert shapes[0] == shapes[1]
    assert [layer.name for layer in normalised.layers[:3]] == ["conv1", "conv1_bn", "conv1_relu"]


@pytest.mark.parametrize(
    ("name", "size", "left"), [("alexnet", 29, 1), ("alexnet_paper", 67, 1), ("alexnet_owt", 95, 2)]
)
def test_smallest_input_is_as_declared(name: str, size: int, left: int) -> None:
    assert output_shapes(described(name, input_shape=(size, size, 3)), "pool5") == [(left, left, 256)]
    with pytest.raises(
        InputShapeError, match=rf"^{name} needs images of at least {size}x{size} pixels; got {size - 1}x"
    ):
        described(name, input_shape=(size - 1, 224, 3))


def test_sizes_of_the_papers_maps() -> None:
    shapes = output_shapes(described("alexnet_paper"), "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "pool5")
    assert shapes == [
        (55, 55, 96),
        (27, 27, 96),
        (27, 27, 256),
        (13, 13, 256),
        (13, 13, 384),
        (13, 13, 384),
        (6, 6, 256),
    ]


def test_each_tower_sees_its_own_maps_until_the_third_convolution() -> None:
    """A change of one tower's maps reaches the same tower in a grouped convolution, both in the third one."""
    keras.utils.set_random_seed(0)
    model = create_model("alexnet_paper", num_classes=2, input_shape=(67, 67, 3))

    def changed_channels(layer: str, channels: int) -> np.ndarray:
        maps = np.random.default_rng(0).random((1, 7, 7, channels), np.float32)
        other = maps.copy()
        other[..., : channels // 2] += 1
        before, after = (np.asarray(model.get_layer(layer)(x)) for x in (maps, other))
        return np.asarray(np.any(before != after, axis=(0, 1, 2)))

    for layer, channels in (("conv2", 96), ("conv4", 384), ("conv5", 384)):
        first, second = np.split(changed_channels(layer, channels), 2)
        assert first.any()
        assert not second.any()
    first, second = np.split(changed_channels("conv3", 256), 2)
    assert first.any()
    assert second.any()


def test_paper_normalises_before_it_pools() -> None:
    names = [layer.name for layer in described("alexnet_paper").layers]
    assert names[:6] == ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2"]


@pytest.mark.parametrize("size", [95, 224, 230])
def test_owt_pools_any_map_to_6x6(size: int) -> None:
    assert output_shapes(described("alexnet_owt", input_shape=(size, size, 3)), "avg_pool") == [(6, 6, 256)]


def test_owt_drops_before_the_dense_layers_and_the_others_after_them() -> None:
    def tail(name: str) -> list[str]:
        return [layer.name for layer in described(name).layers][-5:]

    after = ["fc6", "fc6_dropout", "fc7", "fc7_dropout", "predictions"]
    assert tail("alexnet") == tail("alexnet_paper") == after
    assert tail("alexnet_owt") == ["fc6_dropout", "fc6", "fc7_dropout", "fc7", "predictions"]


@pytest.mark.parametrize("name", ["alexnet_paper", "alexnet_owt"])
def test_a_training_step_reaches_every_weight(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = create_model(name, num_classes=2, input_shape=(95, 95, 3))
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    images = np.random.default_rng(0).normal(size=(2, 95, 95, 3)).astype("float32")
    model.train_on_batch(images, np.array([0, 1]))
    assert all(np.any(old != new.numpy()) for old, new in zip(before, model.trainable_weights, strict=True))


@MODELS
def test_options_reach_the_layers(name: str) -> None:
    model = described(name, dropout=0.3, kernel_initializer="he_uniform", classifier_activation=None)
    assert [model.get_layer(f"{layer}_dropout").rate for layer in ("fc6", "fc7")] == [0.3, 0.3]
    assert model.get_layer("predictions").activation is keras.activations.linear
    hidden = [layer for layer in model.layers if hasattr(layer, "kernel_initializer") and layer.name != "predictions"]
    assert len(hidden) == 7
    assert all(isinstance(layer.kernel_initializer, keras.initializers.HeUniform) for layer in hidden)
    assert isinstance(model.get_layer("predictions").kernel_initializer, keras.initializers.GlorotUniform)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [("alexnet", {"dropout": 2.0}, "rate"), ("alexnet_paper", {"groups": 5}, "groups")],
)
def test_option_out_of_range_is_one_line(name: str, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelBuildError, match=rf"^{name} could not be built .*{reason}.*") as error:
        described(name, **options)
    assert "\n" not in str(error.value)
