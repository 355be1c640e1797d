from pathlib import Path

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.blocks import Conv2D_BN, InceptionBlock_1, NearIdentity

keras = backend.keras()

NAME = "cnn_registry>NearIdentity"


def positive(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_convolution_without_noise_passes_its_input(kernel: int) -> None:
    layer = keras.layers.Conv2D(
        6, kernel, padding="same", activation="relu", kernel_initializer=NearIdentity(noise=0), name="conv"
    )
    x = positive(2, 7, 8, 6)
    np.testing.assert_array_equal(layer(x), x)


def test_dense_layer_without_noise_passes_its_input() -> None:
    layer = keras.layers.Dense(9, kernel_initializer=NearIdentity(noise=0))
    x = positive(4, 9)
    np.testing.assert_array_equal(layer(x), x)


def test_noise_is_a_part_of_hes() -> None:
    shape = (3, 3, 8, 8)
    he_normal = np.asarray(keras.initializers.HeNormal(seed=1)(shape))
    identity = np.asarray(NearIdentity(noise=0)(shape))
    np.testing.assert_allclose(NearIdentity(noise=0.3, seed=1)(shape), identity + 0.3 * he_normal, rtol=1e-6)
    assert np.count_nonzero(identity) == 8


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (3, 3, 8, 4), (5, 7)])
def test_he_normal_where_the_number_of_channels_changes(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(NearIdentity(seed=1)(shape), keras.initializers.HeNormal(seed=1)(shape))


def test_layers_differ_and_a_seed_repeats_them() -> None:
    def kernels() -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        layers = [keras.layers.Dense(5, kernel_initializer=NAME) for _ in range(2)]
        for layer in layers:
            layer.build((None, 5))
        return [np.asarray(layer.kernel.value) for layer in layers]

    first, again = kernels(), kernels()
    assert np.abs(first[0] - first[1]).max() > 0.01
    np.testing.assert_array_equal(first, again)


def kernels_of(initializer: object, seed: int) -> list[np.ndarray]:
    """The kernels of two layers of one shape, and of two blocks' convolutions, that get one initializer."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(5, kernel_initializer=initializer) for _ in range(2)]
    for layer in layers:
        layer.build((None, 5))
    return [np.asarray(layer.kernel.value) for layer in layers]


def test_layers_that_get_one_object_draw_their_own() -> None:
    first, again, other = (kernels_of(NearIdentity(), seed) for seed in (3, 3, 4))
    assert np.abs(first[0] - first[1]).max() > 0.01
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - other[0]).max() > 0.01
    same = kernels_of(NearIdentity(seed=3), 3)
    np.testing.assert_array_equal(same[0], same[1])
    drawn = kernels_of(NearIdentity(seed=keras.random.SeedGenerator(3)), 3)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01


@pytest.mark.parametrize("initializer", [NearIdentity, keras.initializers.HeNormal, keras.initializers.Orthogonal])
def test_convolutions_of_blocks_that_get_one_object_draw_their_own(initializer: type) -> None:
    def kernels(**options: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        inputs, shared = keras.Input((8, 8, 4)), initializer(**options)
        x = Conv2D_BN(inputs, 4, 3, "same", 1, kernel_initializer=shared)
        x = Conv2D_BN(x, 4, 3, "same", 1, kernel_initializer=shared)
        x = InceptionBlock_1(x, [(4,), (4, 4), (4, 4), (4,)], kernel_initializer=shared)
        return [layer.get_weights()[0] for layer in keras.Model(inputs, x).layers if hasattr(layer, "kernel")]

    found = kernels()
    assert len({kernel.tobytes() for kernel in found}) == len(found) == 9
    assert [kernel.tobytes() for kernel in kernels()] == [kernel.tobytes() for kernel in found]
    assert len({kernel.tobytes() for kernel in kernels(seed=1)}) < 9  # as Keras' initializers with a seed


def test_dtype_is_the_one_asked_for() -> None:
    assert NearIdentity()((3, 3, 2, 2), "float16").dtype == "float16"


def test_plain_network_of_twenty_layers_tells_images_apart() -> None:
    """With He's kernels alone all outputs point nearly the same way: the mean cosine between them is compared."""

    def likeness(initializer: str) -> float:
        keras.utils.set_random_seed(0)
        x = inputs = keras.Input((8, 8, 32))
        for _ in range(20):
            x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", kernel_initializer=initializer)(x)
        outputs = np.asarray(keras.Model(inputs, x)(images)).reshape(len(images), -1)
        outputs = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
        return float(np.mean(outputs @ outputs.T))

    images = np.maximum(np.random.default_rng(0).normal(size=(6, 8, 8, 32)), 0).astype("float32")
    assert likeness(NAME) < 0.75 < 0.9 < likeness("he_normal")


def test_saved_model_is_read_again(tmp_path: Path) -> None:
    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2D(3, 3, kernel_initializer=NearIdentity(noise=0.2, seed=5), name="conv")
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras").get_layer("conv").kernel_initializer
    assert (read.noise, read.seed) == (0.2, 5)


def test_a_generator_of_seeds_is_saved() -> None:
    config = keras.saving.serialize_keras_object(NearIdentity(seed=keras.random.SeedGenerator(7)))
    read = keras.saving.deserialize_keras_object(config)
    assert isinstance(read.seed, keras.random.SeedGenerator)
