"""Training with auxiliary heads: what is added to the loss, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry import backend, create_model, train
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.inference.predict import predict
from cnn_registry.networks.heads import add_aux_losses
from cnn_registry.runs.run import Run
from tests.conftest import UNVARIED

pytestmark = pytest.mark.slow

keras = backend.keras()


def compiled(name: str, weight: float) -> Any:
    keras.utils.set_random_seed(0)
    model, loss = create_model(name, num_classes=3, aux_heads=True), keras.losses.CategoricalCrossentropy()
    add_aux_losses(model, {"aux": weight}, loss)
    model.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=loss,
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,
    )
    return model


def test_the_training_loss_is_main_plus_weighted_heads_and_the_validation_loss_main_alone(two: str) -> None:
    random = np.random.default_rng(0)
    images = random.random((8, 8, 8, 2), np.float32)
    labels = np.eye(3, dtype="float32")[random.integers(0, 3, 8)]
    model = compiled(two, 0.3)
    history = model.fit(images, labels, batch_size=8, validation_data=(images, labels), verbose=0).history

    def entropy(probabilities: np.ndarray) -> float:
        return float(-np.log((probabilities * labels).sum(axis=1)).mean())

    outputs = model.predict(images, verbose=0)
    main, aux = entropy(outputs["predictions"]), entropy(outputs["aux"])
    assert history["loss"][0] == pytest.approx(main + 0.3 * aux, rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(main, rel=1e-5)
    assert history["accuracy"][0] == np.mean(outputs["predictions"].argmax(1) == labels.argmax(1))


def test_the_losses_of_all_outputs_have_the_weights_of_the_images(two: str) -> None:
    random = np.random.default_rng(0)
    images, weights = random.random((8, 8, 8, 2), np.float32), np.arange(8, dtype="float32") / 4
    labels = np.eye(3, dtype="float32")[random.integers(0, 3, 8)]
    model = compiled(two, 0.3)
    loss = model.fit(images, labels, sample_weight=weights, batch_size=8, verbose=0).history["loss"][0]
    outputs = model.predict(images, verbose=0)

    def entropy(probabilities: np.ndarray) -> float:
        return float(-(weights * np.log((probabilities * labels).sum(axis=1))).mean())

    assert loss == pytest.approx(entropy(outputs["predictions"]) + 0.3 * entropy(outputs["aux"]), rel=1e-5)


def test_a_run_trains_the_heads_and_uses_the_main_output_alone(two: str, colours: Path, tmp_path: Path) -> None:
    settings = UNVARIED | {"epochs": 1, "batch_size": 8, "image_size": 16}
    run = train(two, data=colours, settings=settings, out=tmp_path)
    assert run.record.model.aux_heads == {"aux": 0.3}
    assert evaluate(Run.open(run.path)).accuracy == run.record.result["report"]["accuracy"]
    [prediction] = predict(run, [colours / "red" / "0.png"])
    assert len(prediction.classes) == 3


def test_the_heads_can_be_left_out(two: str, colours: Path, tmp_path: Path) -> None:
    settings = UNVARIED | {"epochs": 1, "batch_size": 8, "image_size": 16, "model.aux_heads": False}
    run = train(two, data=colours, settings=settings, out=tmp_path)
    assert run.record.model.aux_heads == {}
    assert evaluate(run).accuracy == run.record.result["report"]["accuracy"]
