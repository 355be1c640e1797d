from __future__ import annotations

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.networks.mirrored import with_mirrored

keras = backend.keras()


def test_an_image_and_its_mirror_image_get_the_mean_of_both_answers() -> None:
    inputs = keras.Input((2, 3, 1))
    # Weighs the columns differently, so that left and right can be distinguished.
    outputs = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    images = np.random.default_rng(0).random((5, 2, 3, 1)).astype("float32")
    here, there = (model.predict_on_batch(views) for views in (images, images[:, :, ::-1]))
    averaged = with_mirrored(model, (2, 3, 1))
    assert averaged.predict_on_batch(images) == pytest.approx((here + there) / 2, abs=1e-6)
    assert averaged.predict_on_batch(images) == pytest.approx(averaged.predict_on_batch(images[:, :, ::-1]), abs=1e-6)
    assert averaged.count_params() == model.count_params()
