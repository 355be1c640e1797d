from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cnn_registry import create_model
from cnn_registry.errors import WeightsError
from cnn_registry.networks.weights.foreign import of_keras_model
from cnn_registry.networks.weights.images import adapted
from cnn_registry.networks.weights.load import fill


def test_a_kernel_for_grey_images_gives_what_the_colours_gave(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = create_model(tiny, num_classes=3, input_shape=(12, 20, 3))
    colours.save_weights(file := tmp_path / "rgb.weights.h5")
    grey = create_model(tiny, num_classes=3, input_shape=(12, 20, 1), weights=file)
    images = np.random.default_rng(0).random((4, 12, 20, 1), np.float32)
    np.testing.assert_allclose(grey(images), colours(images.repeat(3, -1)), atol=1e-6)
    said = capsys.readouterr().err
    assert re.fullmatch(".* are summed for 1 channel.\n", said), said


def test_a_kernel_for_more_channels_is_repeated_and_scaled(
    two: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = create_model(two, num_classes=3, input_shape=(12, 12, 3))
    colours.save_weights(file := tmp_path / "rgb.weights.h5")
    more = create_model(two, num_classes=5, input_shape=(12, 12, 5), weights=file)  # and another classifier
    kernel, found = (np.asarray(model.layers[1].kernel) for model in (colours, more))
    np.testing.assert_allclose(found, kernel[:, :, [0, 1, 2, 0, 1]] * 3 / 5, rtol=1e-6)
    said = capsys.readouterr().err
    assert "kernels of 'c1' for RGB are repeated and scaled by 3/5 for 5 channels." in said
    assert "keep their random initialization: predictions" in said
    np.testing.assert_allclose(adapted(kernel, 4).sum(2), kernel[:, :, [0, 1, 2, 0]].sum(2) * 0.75, rtol=1e-5)


def test_weights_under_other_names_are_adapted(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    colours = create_model(tiny, num_classes=3, input_shape=(12, 12, 3))
    alpha = create_model(tiny, num_classes=3, input_shape=(12, 12, 4))
    foreign = of_keras_model(colours)
    names = dict(zip([layer.name for layer in alpha.layers if layer.weights], foreign.arrays, strict=True))
    assert fill(alpha, foreign, names, "some weights") == []
    np.testing.assert_allclose(alpha.layers[1].kernel[:, :, 3], colours.layers[1].kernel[:, :, 0] * 0.75, rtol=1e-6)
    assert "some weights: kernels of 'conv2d" in capsys.readouterr().err


def test_what_cannot_be_adapted_is_refused(tiny: str, tmp_path: Path) -> None:
    grey = create_model(tiny, num_classes=3, input_shape=(12, 12, 1))
    grey.save_weights(file := tmp_path / "grey.weights.h5")
    for channels in (3, 4):
        with pytest.raises(WeightsError, match="does not fit tiny"):
            create_model(tiny, num_classes=3, input_shape=(12, 12, channels), weights=file)
