from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FakePlugins

MODEL = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="Two dense layers on maps", trainable_params=1, input_shape=(6, 8, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    features={"stride1": cnn_registry.Feature("stem", (6, 8, 4))}, aux_heads={"aux": 0.3},
    weights=%s,
)
def foreign(input_shape, num_classes, *, bias=True, dropout=0.0, aux_heads=False):
    '''A convolution, its normalisation, and two dense layers; a head after the first.'''
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=bias, name="stem")(inputs)
    x = first = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(5, activation="relu", name="hidden")(x)
    outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="foreign")
    x = keras.layers.GlobalAveragePooling2D(name="aux_average")(first)
    aux = keras.layers.Dense(num_classes, activation="softmax", name="aux")(x)
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="foreign")

NAMES = {
    "stem": "features.0", "stem_bn": "features.1", "hidden": "classifier.1", "predictions": "fc", "aux": "AuxLogits.fc"
}

def trained(weights):
    import os

    import keras

    assert weights == "imagenet"
    if "OFFLINE" in os.environ:
        raise Exception("URL fetch failure on https://example.org")
    keras.utils.set_random_seed(7)
    model = foreign((8, 8, 3), 10)
    model.layers[2].gamma.assign([0.5, 1.0, 1.5, 2.0])
    return model
"""

PUBLISHED = """{
    "keras:imagenet": cnn_registry.Pretrained(
        "cnnreg_foreign:trained", lambda: {name: name for name in NAMES}, "caffe", {"bias": True}
    ),
    "torchvision:IMAGENET1K_V1": cnn_registry.Pretrained("%s", lambda: NAMES, "imagenet", {"bias": True}),
}"""

ADDRESS = "https://127.0.0.1:1/foreign-0123abcd.safetensors"


@pytest.fixture
def install(plugins: FakePlugins) -> Callable[..., str]:
    """Install a model with published weights, those of PyTorch at ``address``; gives its name."""

    def make(address: str = ADDRESS) -> str:
        source = MODEL % (PUBLISHED % address)
        plugins.install("cnnreg-foreign", source=source, entries={"foreign": "cnnreg_foreign:foreign"})
        return "foreign"

    return make


@pytest.fixture
def foreign(install: Callable[..., str]) -> str:
    """The name of an installed model with published weights, none of which can be fetched."""
    return install()


@pytest.fixture
def state() -> dict[str, np.ndarray]:
    """The model's weights as a state dict of PyTorch's, with 10 classes and the auxiliary head."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "features.0.weight": (4, 3, 3, 3),
        "features.0.bias": (4,),
        "features.1.weight": (4,),
        "features.1.bias": (4,),
        "features.1.running_mean": (4,),
        "features.1.running_var": (4,),
        "classifier.1.weight": (5, 4 * 6 * 8),
        "classifier.1.bias": (5,),
        "fc.weight": (10, 5),
        "fc.bias": (10,),
        "AuxLogits.fc.weight": (10, 4),
        "AuxLogits.fc.bias": (10,),
    }
    arrays = {name: rng.uniform(0.1, 1.0, shape).astype("float32") for name, shape in shapes.items()}
    return arrays | {"features.1.num_batches_tracked": np.array(3)}


def variables(model: Any) -> dict[str, np.ndarray]:
    """All weights of a model, by path."""
    return {weight.path: np.asarray(weight) for weight in model.weights}
