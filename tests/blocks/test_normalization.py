from pathlib import Path

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.blocks import LocalResponseNormalization
from cnn_registry.errors import UsageError

keras = backend.keras()
tf = backend.tensorflow()


def responses(channels: int = 7) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=20, size=(2, 3, 4, channels)).astype("float32")


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_equals_tensorflows(size: int) -> None:
    x = responses()
    ours = LocalResponseNormalization(size, alpha=1e-2, beta=0.6, k=1.5)(x)
    theirs = tf.nn.local_response_normalization(x, depth_radius=size // 2, bias=1.5, alpha=1e-2, beta=0.6)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_default_is_the_papers() -> None:
    x = responses()
    theirs = tf.nn.local_response_normalization(x, depth_radius=2, bias=2, alpha=1e-4, beta=0.75)
    np.testing.assert_allclose(LocalResponseNormalization()(x), theirs, rtol=1e-5)


def test_gradient_equals_tensorflows() -> None:
    x = tf.constant(responses())
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours = LocalResponseNormalization(alpha=1e-2)(x)
        theirs = tf.nn.local_response_normalization(x, depth_radius=2, bias=2, alpha=1e-2, beta=0.75)
    np.testing.assert_allclose(tape.gradient(ours, x), tape.gradient(theirs, x), rtol=1e-4, atol=1e-6)


def test_alpha_is_not_divided_by_the_size() -> None:
    x = np.ones((1, 1, 1, 5), "float32")
    middle = np.asarray(LocalResponseNormalization(5, alpha=1, beta=1, k=0)(x))[0, 0, 0, 2]
    assert middle == pytest.approx(1 / 5)


def test_saved_model_gives_the_same(tmp_path: Path) -> None:
    inputs = keras.Input((3, 4, 7))
    model = keras.Model(inputs, LocalResponseNormalization(3, alpha=1e-2, beta=0.5, k=1, name="norm1")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("norm1").get_config() == model.get_layer("norm1").get_config()
    np.testing.assert_array_equal(loaded(responses()), model(responses()))
    assert model.count_params() == 0


@pytest.mark.parametrize("size", [4, 0, -1])
def test_size_without_a_middle_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=rf"must be odd, so that it has a middle channel; got {size}\.$"):
        LocalResponseNormalization(size)
