"""A fingerprint tells networks apart by what they compute, and by nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.networks.acceleration import accelerate
from cnn_registry.networks.fingerprint import fingerprint
from cnn_registry.networks.freezing import freeze
from cnn_registry.networks.graph import main_network
from cnn_registry.networks.precision import set_precision
from cnn_registry.registry.models import get_spec
from tests.conftest import RunPython

if TYPE_CHECKING:
    import keras
    from keras import layers
else:
    keras = backend.keras()
    layers = keras.layers

Build = Callable[..., Any]


def around(layer: Any, size: tuple[int, ...] = (8, 8, 4)) -> Any:
    """A network that is little more than one layer."""
    inputs = keras.Input(size)
    return keras.Model(inputs, layers.Flatten()(layer(inputs)))


def row(*of_layers: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 4)), *of_layers])


def shortcut(*, joined: Any = layers.Add, swapped: bool = False, shared: bool = False) -> Any:
    inputs = keras.Input((8, 8, 4))
    first = layers.Conv2D(4, 3, padding="same")
    second = first if shared else layers.Conv2D(4, 3, padding="same")
    branches = [layers.ReLU()(first(inputs)), layers.Softmax()(second(inputs))]
    return keras.Model(inputs, joined()(branches[::-1] if swapped else branches))


@keras.saving.register_keras_serializable("fingerprints")
class Scale(layers.Layer):  # type: ignore[misc]  # Keras ships no type information
    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Untold(layers.Layer):  # type: ignore[misc]
    """Its settings cannot be stored, so Keras has no configuration of it."""

    def __init__(self, function: Any, factor: float) -> None:
        super().__init__()
        self.function, self.factor, self.inner = function, factor, layers.Conv2D(4, round(factor))

    def call(self, inputs: Any) -> Any:
        return self.function(self.inner(inputs)) * self.factor


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self, activation: str = "relu", kernel: int = 3) -> None:
        super().__init__(name="subclassed")
        self.convolutions = [layers.Conv2D(4, kernel), layers.Conv2D(4, 1, activation=activation)]
        self.top = layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        for convolution in self.convolutions:
            inputs = convolution(inputs)
        return self.top(inputs)


def subclassed(**options: Any) -> Any:
    model = Subclassed(**options)
    model(keras.Input((8, 8, 3)))
    return model


TWICE = lambda x: x * 2  # noqa: E731  (a Lambda layer's usual argument)
THRICE = lambda x: x * 3  # noqa: E731

CONV = {
    "filters": 6,
    "kernel_size": 5,
    "strides": 2,
    "padding": "same",
    "dilation_rate": 2,
    "activation": "relu",
    "use_bias": False,
    "kernel_regularizer": "l2",
    "kernel_constraint": "non_neg",
}
DEPTHWISE = {"depth_multiplier": 2} | {name: CONV[name] for name in ("strides", "padding", "activation", "use_bias")}
NORM = {"epsilon": 1e-5, "center": False, "scale": False}
POOL = {"pool_size": 3, "strides": 1, "padding": "same"}
SETTINGS: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (layers.Conv2D, {"filters": 4, "kernel_size": 3}, CONV | {"groups": 2}),
    (layers.DepthwiseConv2D, {"kernel_size": 3}, DEPTHWISE),
    (layers.SeparableConv2D, {"filters": 4, "kernel_size": 3}, {"depth_multiplier": 2, "padding": "same"}),
    (layers.Conv2DTranspose, {"filters": 4, "kernel_size": 3}, {"strides": 2, "padding": "same"}),
    (layers.BatchNormalization, {}, NORM | {"momentum": 0.9, "axis": 1, "renorm": True, "synchronized": True}),
    (layers.LayerNormalization, {}, NORM | {"axis": 1}),
    (layers.GroupNormalization, {"groups": 2}, NORM | {"groups": 4}),
    (layers.MaxPooling2D, {"pool_size": 2}, POOL),
    (layers.AveragePooling2D, {"pool_size": 2}, POOL),
    (layers.GlobalAveragePooling2D, {}, {"keepdims": True}),
    (layers.Dense, {"units": 3}, {"units": 4, "activation": "relu", "use_bias": False, "bias_regularizer": "l1"}),
    (layers.Activation, {"activation": "relu"}, {"activation": "relu6"}),
    (layers.ReLU, {}, {"max_value": 6.0, "negative_slope": 0.1, "threshold": 0.5}),
    (layers.LeakyReLU, {}, {"negative_slope": 0.1}),
    (layers.Softmax, {}, {"axis": 1}),
    (layers.Dropout, {"rate": 0.2}, {"rate": 0.5, "noise_shape": (None, 1, 1, 4)}),
    (layers.SpatialDropout2D, {"rate": 0.2}, {"rate": 0.5}),
    (layers.ZeroPadding2D, {"padding": ((0, 1), (0, 1))}, {"padding": ((1, 0), (1, 0))}),
    (layers.Cropping2D, {"cropping": ((0, 1), (0, 1))}, {"cropping": ((1, 0), (1, 0))}),
    (layers.UpSampling2D, {}, {"size": 3, "interpolation": "bilinear"}),
    (layers.Resizing, {"height": 4, "width": 4}, {"height": 5, "interpolation": "nearest", "antialias": True}),
    (layers.Rescaling, {"scale": 1 / 255}, {"scale": 1 / 127.5, "offset": -1.0}),
    (layers.Normalization, {"mean": [0.1] * 4, "variance": [1.0] * 4}, {"mean": [0.2] * 4, "invert": True}),
    (layers.Permute, {"dims": (1, 2, 3)}, {"dims": (2, 1, 3)}),
    (Scale, {}, {"factor": 2.0}),
    (Untold, {"function": keras.ops.relu, "factor": 1.0}, {"function": keras.ops.silu, "factor": 1.2}),
    (layers.Lambda, {"function": TWICE}, {"function": THRICE}),
]  # fmt: skip
CHANGES = [
    pytest.param(layer, given, given | {name: value}, id=f"{layer.__name__}-{name}")
    for layer, given, changes in SETTINGS
    for name, value in changes.items()
]


@pytest.mark.filterwarnings("ignore:.*in_channels.*")
@pytest.mark.parametrize(("layer", "given", "changed"), CHANGES)
def test_each_setting_of_a_layer_counts(layer: Any, given: dict[str, Any], changed: dict[str, Any]) -> None:
    before = fingerprint(around(layer(**given)))
    assert fingerprint(around(layer(**given))) == before
    assert fingerprint(around(layer(**changed))) != before


IRRELEVANT: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    (layers.Conv2D, {"filters": 4, "kernel_size": 3}, {"name": "mine", "kernel_initializer": "he_normal"}),
    (layers.Conv2D, {"filters": 4, "kernel_size": 3}, {"dtype": "mixed_bfloat16", "trainable": False}),
    (layers.BatchNormalization, {}, {"gamma_initializer": "zeros", "trainable": False, "dtype": "float32"}),
    (layers.Dropout, {"rate": 0.2}, {"seed": 3}),
]


@pytest.mark.parametrize(("layer", "given", "others"), IRRELEVANT)
def test_names_first_values_types_and_freezing_do_not_count(
    layer: Any, given: dict[str, Any], others: dict[str, Any]
) -> None:
    for name, value in others.items():
        assert fingerprint(around(layer(**given, **{name: value}))) == fingerprint(around(layer(**given)))


GRAPHS: dict[str, Build] = {
    "sum": shortcut,
    "product": lambda: shortcut(joined=layers.Multiply),
    "maximum": lambda: shortcut(joined=layers.Maximum),
    "joined": lambda: shortcut(joined=layers.Concatenate),
    "joined, the other way round": lambda: shortcut(joined=layers.Concatenate, swapped=True),
    "shared weights": lambda: shortcut(shared=True),
    "max": lambda: around(layers.MaxPooling2D(2)),
    "average": lambda: around(layers.AveragePooling2D(2)),
    "another size": lambda: around(layers.MaxPooling2D(2), (10, 10, 4)),
    "normalization first": lambda: row(layers.BatchNormalization(), layers.ReLU()),
    "activation first": lambda: row(layers.ReLU(), layers.BatchNormalization()),
    "nested": lambda: around(keras.Sequential([layers.ReLU(), layers.BatchNormalization()])),
    "nested, the other way round": lambda: around(keras.Sequential([layers.BatchNormalization(), layers.ReLU()])),
    "normalized with moving statistics": lambda: around(lambda x: layers.BatchNormalization()(x, training=False)),
    "normalized": lambda: around(lambda x: layers.BatchNormalization()(x)),
    "operators": lambda: around(lambda x: keras.ops.mean(x * 2.0, axis=1)),
    "another number": lambda: around(lambda x: keras.ops.mean(x * 3.0, axis=1)),
    "another operator": lambda: around(lambda x: keras.ops.mean(x + 2.0, axis=1)),
    "another axis": lambda: around(lambda x: keras.ops.mean(x * 2.0, axis=2)),
    "even rows": lambda: around(lambda x: x[:, ::2]),
    "odd rows": lambda: around(lambda x: x[:, 1::2]),
    "constants": lambda: around(lambda x: x - np.arange(4, dtype="float32")),
    "other constants": lambda: around(lambda x: x - np.arange(1, 5, dtype="float32")),
    "cut to integers": lambda: around(lambda x: keras.ops.cast(x, "int32")),
    "cut to bytes": lambda: around(lambda x: keras.ops.cast(x, "uint8")),
    "layers in a list": lambda: keras.Sequential([layers.ReLU(), layers.Flatten()]),
    "other layers in a list": lambda: keras.Sequential([layers.Flatten(), layers.ReLU()]),
    "a class of its own": subclassed,
    "its kernels": lambda: subclassed(kernel=5),
    "its activation": lambda: subclassed(activation="silu"),
    "heads": lambda: heads("aux"),
    "heads of another name": lambda: heads("head"),
}  # fmt: skip


def heads(name: str) -> Any:
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3)(inputs)
    return keras.Model(inputs, {"predictions": layers.ReLU()(x), name: layers.Softmax()(x)})


def test_different_graphs_have_different_fingerprints() -> None:
    found = {name: fingerprint(build()) for name, build in GRAPHS.items()}
    assert len(set(found.values())) == len(GRAPHS), found
    assert {name: fingerprint(build()) for name, build in GRAPHS.items()} == found


def test_what_is_not_weights_of_a_network_does_not_matter() -> None:
    """Heads that were removed, the order in which branches were written, a row of layers as a sequential model."""
    inputs = keras.Input((8, 8, 4))
    second = layers.Softmax()(layers.Conv2D(4, 3, padding="same")(inputs))
    first = layers.ReLU()(layers.Conv2D(4, 3, padding="same")(inputs))
    assert fingerprint(keras.Model(inputs, layers.Add()([first, second]))) == fingerprint(shortcut())
    assert fingerprint(row(layers.Conv2D(4, 3), layers.Flatten())) == fingerprint(around(layers.Conv2D(4, 3)))
    inputs = keras.Input((8, 8, 4))
    alone = keras.Model(inputs, layers.ReLU()(layers.Conv2D(4, 3)(inputs)))
    assert fingerprint(main_network(heads("aux"))) == fingerprint(alone)


def test_a_network_keeps_its_fingerprint_while_it_is_trained(two: str) -> None:
    from cnn_registry import create_model

    model = create_model(two, num_classes=3, input_shape=(16, 16, 3))
    before = fingerprint(model)
    freeze(model, get_spec(two), "stride2")
    set_precision(model, "bfloat16")
    accelerate(model)
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    model.train_on_batch(np.ones((2, 16, 16, 3)), np.eye(3)[:2])
    assert fingerprint(model) == before


@pytest.mark.parametrize("build", [lambda: around(layers.Conv2D(4, 3)), subclassed, lambda: around(Scale(2.0))])
def test_a_subclass_keeps_its_fingerprint_under_another_policy(build: Build) -> None:
    before = fingerprint(build())
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert fingerprint(build()) == before
    finally:
        keras.config.set_dtype_policy("float32")


PLUGIN = '''
import keras

@keras.saving.register_keras_serializable("fingerprints")
class Own(keras.layers.Layer):
    """Doubles."""

    def call(self, inputs):
        # as the paper does
        return inputs * 2

def swish(x):
    return x * keras.ops.sigmoid(x)

def build():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Activation(swish)(Own()(inputs))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3)(x))
'''

HELPED = (
    PLUGIN.replace("return inputs * 2", "return shifted(inputs)")
    + '''
FACTOR = 2
UNUSED = 1
SEEN = []

def shifted(x):
    """What the layer takes from its module."""
    SEEN.append(x)
    return x + FACTOR
'''
)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("inputs * 2", "inputs * 3", False),
        ("x * keras.ops.sigmoid(x)", "x * keras.ops.sigmoid(2 * x)", False),
        ("Doubles.", "Multiplies by two.", True),
        ("# as the paper does", "# section 3.2\n", True),
        ("inputs * 2", "(inputs\n            * 2)", True),
        ("FACTOR = 2", "FACTOR = 3", False),
        ("return x + FACTOR", "return x - FACTOR", False),
        ("UNUSED = 1", "UNUSED = 2", True),
        ("SEEN = []", "SEEN = [1]", True),  # what code remembers
        ("return x + FACTOR", "return (x + FACTOR)  # as published", True),
    ],
)
def test_the_code_of_a_plugins_own_layers_counts_but_not_its_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, same: bool
) -> None:
    import importlib

    found = []
    plugin = PLUGIN if old in PLUGIN else HELPED
    for number, text in enumerate((plugin, plugin.replace(old, new))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own_layers.py").write_text(text)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            patch.delitem(__import__("sys").modules, "own_layers", raising=False)
            found.append(fingerprint(importlib.import_module("own_layers").build()))
    assert (found[0] == found[1]) is same
    assert found[0].startswith("1:" if plugin is PLUGIN else "2:")  # earlier ones did not see what is taken


@pytest.mark.slow
def test_another_process_finds_the_same_fingerprint(
    run_warm_python: RunPython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_layers.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    here = fingerprint(importlib.import_module("own_layers").build())
    assert here is not None
    assert here.startswith("1:")
    code = (
        "import keras; keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)]); "
        "from own_layers import build; from cnn_registry.networks.fingerprint import fingerprint; "
        "print(fingerprint(build()))"
    )
    there = run_warm_python("-c", code, PYTHONPATH=str(tmp_path))  # sets have another order there
    assert there.stdout == f"{here}\n", there.stderr
