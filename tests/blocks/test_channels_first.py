"""In networks of one's own, the blocks follow Keras' image_data_format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.blocks import (
    BasicBlock,
    BottleneckBlock,
    Conv2D_BN,
    InceptionBlock_1,
    InceptionBlock_2,
    InceptionBlock_3,
    LocalResponseNormalization,
    PreactBottleneckBlock,
)

keras = backend.keras()

FOUR = [(4,), (2, 6), (2, 4), (2,)]
BLOCKS: dict[str, Callable[[Any], Any]] = {
    "Conv2D_BN": lambda x: Conv2D_BN(x, 6, 3, "same", 2),
    "Conv2D_BN, padded": lambda x: Conv2D_BN(x, 6, 3, 1, 2, order="bn_relu"),
    "InceptionBlock_1": lambda x: InceptionBlock_1(x, FOUR),
    "InceptionBlock_2": lambda x: InceptionBlock_2(x, FOUR[1:3]),
    "InceptionBlock_3": lambda x: InceptionBlock_3(x, FOUR),
    "BasicBlock": lambda x: BasicBlock(x, 8),
    "BasicBlock, projected": lambda x: BasicBlock(x, 6, 2),
    "BottleneckBlock": lambda x: BottleneckBlock(x, 2),
    "PreactBottleneckBlock": lambda x: PreactBottleneckBlock(x, 2),
    "PreactBottleneckBlock, projected": lambda x: PreactBottleneckBlock(x, 3, 2),
    "LocalResponseNormalization": lambda x: LocalResponseNormalization(3, alpha=1.0)(x),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    keras.config.set_image_data_format("channels_last")


def model(block: Callable[[Any], Any], data_format: str) -> Any:
    keras.config.set_image_data_format(data_format)
    inputs = keras.Input((8, 10, 12) if data_format == "channels_first" else (10, 12, 8))
    return keras.Model(inputs, block(inputs))


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in BLOCKS.items()])
def test_both_formats_compute_the_same(block: Callable[[Any], Any]) -> None:
    images = np.random.default_rng(0).normal(size=(2, 10, 12, 8)).astype("float32")
    last, first = model(block, "channels_last"), model(block, "channels_first")
    assert first.count_params() == last.count_params()
    first.set_weights(last.get_weights())
    expected = np.asarray(last(images, training=True))
    outputs = np.asarray(first(images.transpose(0, 3, 1, 2), training=True))
    np.testing.assert_allclose(outputs.transpose(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("saved_under", ["channels_last", "channels_first"])
def test_a_saved_layer_keeps_its_axis(saved_under: str) -> None:
    keras.config.set_image_data_format(saved_under)
    config = LocalResponseNormalization().get_config()
    keras.config.set_image_data_format("channels_first" if saved_under == "channels_last" else "channels_last")
    assert LocalResponseNormalization.from_config(config).axis == config["axis"]
    del config["axis"]
    assert LocalResponseNormalization.from_config(config).axis == -1
