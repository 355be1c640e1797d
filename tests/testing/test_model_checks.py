"""The checks of models: a sound model passes all of them, and for each there is a broken model that fails it alone."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cnn_registry import Paper, get_spec, register_model
from cnn_registry.errors import UsageError
from cnn_registry.testing import CheckFailed, CheckResult, check_model
from cnn_registry.testing.run import MODEL_CHECKS
from cnn_registry.testing.saved import BACKENDS

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

DECLARATION = '''
import functools
import cnn_registry


def with_dropout(function):
    @functools.wraps(function)
    def wrapped(*arguments, **options):
        return function(*arguments, **({"dropout": 0.5} | options))

    return wrapped


@cnn_registry.register_model(
    family="kit", summary="A network with nothing wrong", input_shape=(32, 32, 3), min_size=5,
    paper=cnn_registry.Paper(title="Sound networks", authors="Doe", year=2020, url="https://example.org/sound"),
    trainable_params=18_417, non_trainable_params=48, macs=127_744,
    features={
        "stride2": cnn_registry.Feature("c1_relu", (16, 16, 8)),
        "stride4": cnn_registry.Feature("c2_relu", (7, 7, 16)),
    },
    aux_heads={"aux": 0.3},
    recipe_settings={"default": {"optimizer.learning_rate": 0.02, "model.dropout": 0.1}},
)
def MODEL(input_shape, num_classes, *, dropout=0.0, aux_heads=False):
    """Two convolutions and a classifier, with a head behind the first."""
    from MODULE_network import build

    return build(input_shape, num_classes, dropout, aux_heads)
'''

NETWORK = """
import os
import sys

import keras
from cnn_registry.blocks import Conv2D_BN


@keras.saving.register_keras_serializable("MODULE")
class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def build(self, input_shape):
        self.shift = self.add_weight(shape=(), initializer="zeros", name="shift")

    def call(self, inputs):
        return inputs * self.factor + self.shift

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def build(input_shape, num_classes, dropout, aux_heads):
    options = {"order": "bn_relu", "use_bias": False, "momentum": 0.9}
    inputs = keras.Input(input_shape)
    first = x = Conv2D_BN(inputs, 8, 3, "same", 2, name="c1", **options)
    x = Conv2D_BN(x, 16, 3, "valid", 2, name="c2", **options)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    x = Scale(2.0, name="scale")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="MODEL")
    x = keras.layers.GlobalAveragePooling2D(name="aux_average")(first)
    aux = keras.layers.Dense(num_classes, activation="softmax", name="aux")(x)
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="MODEL")
"""

SHIFTED = "return inputs * self.factor + self.shift"
MAIN_HEAD = 'Dense(num_classes, activation="softmax", name="predictions")'
INPUTS = "    inputs = keras.Input(input_shape)"

BROKEN = {
    "light-import": ("import functools", "import functools\nimport keras"),
    "spec": ("https://example.org/sound", "example.org/sound"),
    "docstring": ('    """Two convolutions and a classifier, with a head behind the first."""\n', ""),
    "parameters": ("18_417", "18_418"),
    "macs": ("127_744", "127_745"),
    "sizes": (INPUTS, f"    assert input_shape[0] == input_shape[1]\n{INPUTS}"),
    "smallest": ("min_size=5", "min_size=4"),
    "classes": (MAIN_HEAD, MAIN_HEAD.replace("num_classes", "max(2, num_classes)")),
    "channels": (INPUTS, f"    assert input_shape[2] < 4\n{INPUTS}"),
    "options": ("def MODEL(", "@with_dropout\ndef MODEL("),
    "aux-heads": ('{"aux": 0.3}', '{"aux": 1.5}'),
    "features": ("(7, 7, 16)", "(8, 8, 16)"),
    "names": ('(name="average")', "()"),
    "no-lambda": ("Scale(2.0,", "keras.layers.Lambda(keras.activations.relu, name='lambda')(x)\n    x = Scale(2.0,"),
    "no-tensorflow": (
        SHIFTED,
        "if keras.backend.backend() == 'tensorflow':\n            import tensorflow as tf\n"
        "            return tf.multiply(inputs, self.factor) + self.shift\n        " + SHIFTED,
    ),
    "probabilities": (MAIN_HEAD, MAIN_HEAD.replace("softmax", "sigmoid")),
    "rows": (SHIFTED, f"{SHIFTED} + keras.ops.mean(inputs, axis=0, keepdims=True)"),
    "seed": (MAIN_HEAD, MAIN_HEAD[:-1] + ", kernel_initializer=keras.initializers.HeNormal(os.urandom(1)[0]))"),
    "mixed-float16": (SHIFTED, f"{SHIFTED} + (inputs * 1e6) / 1e6"),
    "mixed-bfloat16": (SHIFTED, f"{SHIFTED} + inputs * 2e-3 / ((keras.ops.ones_like(inputs) + 2e-3) - 1)"),
    "gradients": (SHIFTED, "return inputs * self.factor"),
    "gradient-norm": (SHIFTED, "return inputs * self.factor + 0.1 * keras.ops.sin(600 * (600 * self.shift))"),
    "learns": ("Scale(2.0,", "Scale(1e-4,"),
    "keras-file": ('{**super().get_config(), "factor": self.factor}', "super().get_config()"),
    "weights-file": (
        "Scale(2.0,",
        "Scale(2.0 if 'pytest' in sys.modules or keras.backend.backend() != 'tensorflow' else 1.0,",
    ),
    "backends": (SHIFTED, f"{SHIFTED} + (0.0 if keras.backend.backend() == 'tensorflow' else 1.0)"),
}
"""For each check the place in the sound model, and what there breaks just that."""

DECLARED = ("light-import", "spec", "docstring", "parameters", "macs", "smallest", "aux-heads", "features")
"""Broken in the declaration alone: such a network computes what the sound one does, so only cheap checks are made."""

CHEAP = [check.name for check in MODEL_CHECKS if check.cheap]

Install = Callable[..., str]


@pytest.fixture
def install(plugins: FakePlugins) -> Install:
    """Install the sound model with some places replaced; return the model's name, which is ``name``."""

    def install(name: str, *places: tuple[str, str]) -> str:
        module = f"kit_{name}"
        texts = [DECLARATION, NETWORK]
        for old, new in places:
            assert sum(text.count(old) for text in texts) == 1
            texts = [text.replace(old, new) for text in texts]
        texts = [text.replace("MODULE", module).replace("MODEL", name) for text in texts]
        entry = plugins.install(f"kit-{name}", source=texts[0], entries={name: f"{module}:{name}"})
        (entry.parent / f"{module}_network.py").write_text(texts[1])
        return name

    return install


def failing(results: list[CheckResult]) -> dict[str, str]:
    return {result.check: result.message for result in results if result.outcome == "failed"}


def test_a_sound_model_passes(install: Install) -> None:
    results = check_model(install("sound"))
    assert [result.check for result in results] == [check.name for check in MODEL_CHECKS]
    skipped = {result.check for result in results if result.outcome == "skipped"}
    assert skipped <= {"backends"}


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_model_fails_just_that_check(install: Install, check: str) -> None:
    if check == "backends" and not any(map(importlib.util.find_spec, BACKENDS[::2])):
        pytest.skip("neither JAX nor PyTorch is installed")
    name = install(f"broken_{check.replace('-', '_')}", BROKEN[check])
    found = failing(check_model(name, on_fail=None, only=CHEAP if check in DECLARED else []))
    assert found.keys() == {check}, found
    assert re.fullmatch(r"expected .+; got .+\. [A-Za-z].+", found[check])


def test_every_check_has_a_broken_model() -> None:
    assert list(BROKEN) == [check.name for check in MODEL_CHECKS]
    assert all(check.about for check in MODEL_CHECKS)


def test_a_session_model_of_a_function_is_spared_the_checks_in_other_processes(plugins: FakePlugins) -> None:
    def local(input_shape: tuple[int, int, int], num_classes: int) -> Any:
        """Average the pixels, and classify."""
        import keras

        inputs = keras.Input(input_shape)
        x = keras.layers.GlobalAveragePooling2D(name="average")(inputs)
        outputs = keras.layers.Dense(num_classes, activation="softmax", name="predictions")(x)
        return keras.Model(inputs, outputs, name="local")

    paper = Paper(title="Averages", authors="Doe", year=2020, url="https://example.org")
    declare = register_model(
        family="kit", summary="Averages", paper=paper, trainable_params=4000, input_shape=(16, 16, 3), min_size=1
    )
    declare(local)
    elsewhere = ["light-import", "keras-file", "weights-file", "parameters"]
    results = check_model(get_spec("local"), on_fail=None, only=elsewhere)
    assert {result.check: result.outcome for result in results} == {
        "light-import": "skipped",
        "parameters": "passed",
        "keras-file": "skipped",
        "weights-file": "skipped",
    }
    assert "in this session" in results[0].message


def test_large_models_are_checked_cheaply_unless_all_is_asked_for(install: Install) -> None:
    name = install("large", ("18_417", "40_000_000"))
    only = ["parameters", "probabilities"]
    outcomes = [result.outcome for result in check_model(name, None, only=only)]
    assert outcomes == ["failed", "skipped"]
    outcomes = [result.outcome for result in check_model(name, None, only=only, full=True)]
    assert outcomes == ["failed", "passed"]


def test_a_failure_raises_or_warns_or_is_returned(install: Install) -> None:
    name = install("miscounted", BROKEN["parameters"])
    with pytest.raises(CheckFailed, match=r"^miscounted: parameters failed: expected 18,418 .*; got 18,417"):
        check_model(name, only=["parameters"])
    with pytest.warns(UserWarning, match="miscounted: parameters failed"):
        check_model(name, "warn", only=["parameters"])
    assert failing(check_model(name, None, only=["parameters"])).keys() == {"parameters"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"only": ["gradient"]}, "There is no check 'gradient'. Did you mean 'gradients'"),
        ({"on_fail": "ignore"}, "on_fail must be 'raise', 'warn' or None; got 'ignore'."),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        check_model("any", **arguments)
