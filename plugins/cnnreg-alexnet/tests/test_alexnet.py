import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from cnn_registry import create_model, get_spec
from cnn_registry.backend import keras as import_keras
from cnn_registry.errors import InputShapeError, ModelBuildError

keras = import_keras()


@pytest.fixture(autouse=True)
def fresh_session() -> Iterator[None]:
    yield
    keras.utils.clear_session(free_memory=False)  # a garbage collection each time would take longer than the tests


def described(**arguments: Any) -> Any:
    """The model with the shapes of its weights but without their memory."""
    with keras.StatelessScope(initialize_variables=False):
        return create_model("alexnet", **arguments)


def count(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def test_parameters_are_as_declared() -> None:
    spec, model = get_spec("alexnet"), described()
    assert model.input_shape == (None, *spec.input_shape)
    assert count(model.trainable_weights) == spec.trainable_params == 76_009_832
    assert count(model.non_trainable_weights) == spec.non_trainable_params == 0


def test_parameters_with_17_classes() -> None:
    assert described(num_classes=17).count_params() == 71_982_481


@pytest.mark.parametrize("shape", [(64, 64, 3), (29, 40, 1)])
def test_other_inputs_give_probabilities(shape: tuple[int, int, int]) -> None:
    model = create_model("alexnet", num_classes=5, input_shape=shape)
    images = np.random.default_rng(0).uniform(size=(2, *shape)).astype("float32")
    probabilities = np.asarray(model(images))
    assert probabilities.shape == (2, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_smallest_input_is_as_declared() -> None:
    assert described(input_shape=(29, 29, 3)).get_layer("pool5").output.shape[1:3] == (1, 1)
    with pytest.raises(InputShapeError, match=r"^alexnet needs images of at least 29x29 pixels; got 28x224\.$"):
        described(input_shape=(28, 224, 3))


def test_options_reach_the_layers() -> None:
    model = described(dropout=0.3, kernel_initializer="he_uniform", classifier_activation=None)
    assert [model.get_layer(f"{name}_dropout").rate for name in ("fc6", "fc7")] == [0.3, 0.3]
    assert model.get_layer("predictions").activation is keras.activations.linear
    hidden = [layer for layer in model.layers if hasattr(layer, "kernel_initializer") and layer.name != "predictions"]
    assert len(hidden) == 7
    assert all(isinstance(layer.kernel_initializer, keras.initializers.HeUniform) for layer in hidden)
    assert isinstance(model.get_layer("predictions").kernel_initializer, keras.initializers.GlorotUniform)


def test_option_out_of_range_is_one_line() -> None:
    with pytest.raises(ModelBuildError, match=r"^alexnet could not be built .*rate.*") as error:
        described(dropout=2.0)
    assert "\n" not in str(error.value)


def test_model_bears_its_name() -> None:
    assert described().name == "alexnet"


def test_declaring_does_not_import_keras() -> None:
    code = "import sys, cnnreg_alexnet; print({'keras', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
