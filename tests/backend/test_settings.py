"""What the user has set in Keras does not change a model, and is as before afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cnn_registry import backend, create_model
from cnn_registry.backend import settings
from cnn_registry.backend.settings import standard_settings

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

keras = backend.keras()
config = keras.config

DEVIATIONS = [
    {"image_data_format": "channels_first"},
    {"floatx": "float16"},
    {"floatx": "float64"},
    {"floatx": "bfloat16"},
    {"dtype_policy": "mixed_float16"},
    {"dtype_policy": "mixed_bfloat16"},
    {"dtype_policy": "bfloat16"},
    {"dtype_policy": "float64"},
    {"dtype_policy": "int8_from_float32"},
    {"dtype_policy": "float8_from_mixed_bfloat16"},
    {"image_data_format": "channels_first", "floatx": "float16", "dtype_policy": "mixed_float16"},
]


def current() -> dict[str, str]:
    return {
        "image_data_format": config.image_data_format(),
        "floatx": config.floatx(),
        "dtype_policy": config.dtype_policy().name,
    }


def choose(image_data_format: str = "channels_last", floatx: str = "float32", dtype_policy: str = "float32") -> None:
    config.set_image_data_format(image_data_format)
    config.set_floatx(floatx)
    config.set_dtype_policy(dtype_policy)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    settings._note_ignored.cache_clear()
    yield
    choose()


NET = """
import cnn_registry

@cnn_registry.register_model(
    family="f", summary="s", trainable_params=1, input_shape=(16, 16, 3),
    paper=cnn_registry.Paper("t", "a", 2020, "u"), features={"stride2": cnn_registry.Feature("pool", (8, 8, 4))},
)
def net(input_shape, num_classes):
    import keras
    from cnn_registry.blocks import Conv2D_BN, LocalResponseNormalization

    inputs = keras.Input(input_shape)
    x = LocalResponseNormalization()(Conv2D_BN(inputs, 4, 3, "same", 1))
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="net")
"""


@pytest.fixture
def net(plugins: FakePlugins) -> str:
    plugins.install("fake-net", source=NET, entries={"net": "fake_net:net"})
    return "net"


def built(name: str, **arguments: Any) -> Any:
    keras.utils.set_random_seed(0)
    return create_model(name, num_classes=3, **arguments)


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_a_model_is_the_same_under_every_setting(net: str, deviation: dict[str, str]) -> None:
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    published = built(net)
    choose(**deviation)
    chosen = current()
    model = built(net)
    assert current() == chosen
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert model.count_params() == published.count_params()
    np.testing.assert_array_equal(np.asarray(model(images)), np.asarray(published(images)))
    assert built(net, include_top=False).output_shape == (None, 8, 8, 4)
    assert current() == chosen


def test_a_line_says_once_what_is_not_used(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    built(net)
    assert capsys.readouterr().err == ""
    choose(image_data_format="channels_first", dtype_policy="mixed_float16")
    built(net)
    built(net)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" is not used: ")[0] for line in lines] == [
        "Keras' image_data_format channels_first",
        "Keras' dtype policy mixed_float16",
    ]


def test_it_ends_with_an_error_too(net: str) -> None:
    choose(**DEVIATIONS[-1])
    with pytest.raises(ValueError, match="lost"), standard_settings():
        raise ValueError("lost")
    assert current() == DEVIATIONS[-1]


def test_the_outermost_policy_holds(net: str) -> None:
    with standard_settings("mixed_bfloat16"):
        assert built(net).layers[1].compute_dtype == "bfloat16"
        assert current()["dtype_policy"] == "mixed_bfloat16"
    assert current()["dtype_policy"] == "float32"


def test_threads_that_overlap_leave_the_users_settings() -> None:
    chosen = {"image_data_format": "channels_first", "floatx": "float16"}
    choose(**chosen)
    entered, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    seen = []

    def work(number: int) -> None:
        with standard_settings():
            entered[number].set()
            leave[number].wait()
            seen.append(current())

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for number in (0, 1):
        threads[number].start()
        entered[number].wait()
    for number in (0, 1):
        leave[number].set()
        threads[number].join()
    assert seen == [{"image_data_format": "channels_last", "floatx": "float32", "dtype_policy": "float32"}] * 2
    assert (config.image_data_format(), config.floatx()) == ("channels_first", "float16")


@pytest.mark.slow
def test_a_keras_json_does_not_change_a_model_nor_we_the_variables_of_a_tensorflow_that_is_there(
    tmp_path: Path, run_python: Any
) -> None:
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first", "floatx": "float16"}')
    code = f"""
import os, tensorflow
before = dict(os.environ)
import cnn_registry
{NET.partition("import cnn_registry")[2]}
model = cnn_registry.create_model("net", num_classes=2)
import keras
print(model.count_params(), model.compute_dtype, keras.config.image_data_format(), keras.config.floatx())
assert dict(os.environ) == before
"""
    unset: dict[str, None] = dict.fromkeys(("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "KERAS_BACKEND"))
    done = run_python("-c", code, **unset | {"KERAS_HOME": str(tmp_path)})
    assert done.stdout == "642 float32 channels_first float16\n", done.stderr
