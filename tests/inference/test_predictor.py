"""What predicts: a run, the mean of a cross-validation, a model with published weights."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry import Run, create_model, evaluate, load_model, load_run, predict
from cnn_registry.data.image import decode
from cnn_registry.data.pipeline.batches import scale
from cnn_registry.errors import DownloadError, RunError, UsageError
from cnn_registry.inference import predictor
from cnn_registry.inference.predict import Prediction, find_predictor
from cnn_registry.runs.folds import open_runs
from tests.conftest import FakePlugins


def test_a_run_predicts_whatever_form_a_picture_has(trained: Path, colours: Path) -> None:
    run, file = load_run(str(trained)), colours / "red" / "0.png"
    from_path = run.predict(file)
    with Image.open(file) as image:
        pixels = np.asarray(image)
        forms: list[Any] = [str(file), image, pixels, image.copy()]
        found = [run.predict(form, top=3) for form in forms]
    for prediction in found:
        assert isinstance(prediction, Prediction)
        assert dict(prediction) == pytest.approx(dict(from_path), abs=1e-6)
    assert (from_path.image, found[2].image) == (file, None)
    assert len(from_path) == 3
    assert from_path[0][0] == "red"
    several = run.predict(np.stack([pixels, pixels]), top=1)
    assert [prediction[0][0] for prediction in several] == ["red", "red"]
    assert isinstance(run.predict([file]), list)
    assert len(run.predict(colours / "red")) == 20
    stream = run.predict(iter([file, pixels]))
    assert not isinstance(stream, list)
    assert [prediction.image for prediction in stream] == [file, None]


def test_the_network_is_loaded_once_until_its_weights_change(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Run] = []

    def load(run: Run, *arguments: Any, **options: Any) -> Any:
        loads.append(run)
        return load_model(run, *arguments, **options)

    monkeypatch.setattr(predictor, "load_model", load)
    run, picture = load_run(trained), np.zeros((20, 20, 3), np.uint8)
    run.predict(picture)
    run.predict([picture] * 3)
    assert len(loads) == 1
    run.best_weights.write_bytes(run.last_weights.read_bytes())
    run.predict(picture)
    assert len(loads) == 2
    again = pickle.loads(pickle.dumps(run))
    assert again == run
    assert not again.loaded


def test_preprocess_gives_what_the_model_takes(trained: Path, colours: Path) -> None:
    run, files = load_run(trained), sorted((colours / "red").iterdir())
    one = run.preprocess(files[0])
    assert (one.shape, one.dtype) == ((1, 16, 16, 3), np.float32)
    many = run.preprocess(files)
    assert many.shape == (20, 16, 16, 3)
    batches = run.preprocess(iter(files * 2))
    assert [len(batch) for batch in batches] == [32, 8]
    outputs = np.asarray(run.model()(many))
    for row, prediction in zip(outputs, run.predict(files), strict=True):
        assert dict(prediction) == pytest.approx(dict(zip(run.class_names, row.tolist(), strict=True)), abs=1e-5)


def test_other_weights_of_a_run_are_refused_by_their_names(trained: Path, colours: Path) -> None:
    with pytest.raises(UsageError, match="are 'best' or 'last'; got 'keras:imagenet'"):
        predict(trained, colours / "red", weights="keras:imagenet")


@pytest.fixture
def folds(trained: Path, tmp_path: Path) -> Path:
    """The directory of a cross-validation of two folds, with different weights."""
    directory = tmp_path / "folds"
    for number, weights in ((1, "best"), (2, "last")):
        copy = Path(shutil.copytree(trained, directory / f"run-{number}"))
        (copy / "best.weights.h5").write_bytes((trained / f"{weights}.weights.h5").read_bytes())
        run = load_run(copy)
        split = run.record.split.model_copy(update={"name": f"fold-{number}-of-2"})
        Run(copy, run.record.model_copy(update={"split": split})).save()
    network = create_model("tiny", num_classes=3, input_shape=(16, 16, 3))
    network.save_weights(directory / "run-2" / "best.weights.h5")
    return directory


def test_a_cross_validation_predicts_the_mean_of_its_models(folds: Path, colours: Path) -> None:
    files = sorted((colours / "blue").iterdir())[:3]
    each = [[dict(prediction) for prediction in predict(run, files)] for run in open_runs(folds)]
    for prediction, first, second in zip(predict(folds, files), *each, strict=True):
        assert first != second
        mean = {name: (first[name] + second[name]) / 2 for name in first}
        assert dict(prediction) == pytest.approx(mean, abs=1e-5)
        assert [name for name, _ in prediction] == sorted(mean, key=lambda name: -mean[name])


def test_a_cross_validation_is_evaluated_by_the_mean_and_its_own_images_by_the_fold_that_did_not_see_them(
    folds: Path, colours: Path, own_colours: Path
) -> None:
    (own_colours / "red" / "0.png").unlink()
    each = [evaluate(run, data=own_colours) for run in open_runs(folds)]
    mean = evaluate(folds, data=str(own_colours))
    np.testing.assert_allclose(mean.probabilities, (each[0].probabilities + each[1].probabilities) / 2, atol=1e-6)
    assert re.fullmatch(
        r"all images of colours, 4[78] of which the model was trained on, the mean of 2 models", mean.part
    )
    own = evaluate(folds)
    assert own.part == "24 validation images of 2 folds, each by the model not trained on it"
    assert len(evaluate(folds, part="all").labels) == 60
    with pytest.raises(UsageError, match="trains on other images"):
        evaluate(folds, part="train")


def test_an_incomplete_cross_validation_is_refused_with_the_command_that_completes_it(
    folds: Path, colours: Path
) -> None:
    shutil.rmtree(folds / "run-2")
    with pytest.raises(RunError, match=r"holds 1 finished folds of 2\. Resume .*train tiny --folds 2 --resume"):
        predict(folds, colours / "red")
    with pytest.raises(RunError, match="is not a run directory"):
        predict(folds.parent, colours / "red")


KNOWN = """
import os

import cnn_registry


def trained(weights):
    import keras

    keras.utils.set_random_seed(3)
    return known((12, 12, 3), 10)


def decode(probabilities, top):
    assert top == 1
    if "OFFLINE" in os.environ:
        raise Exception("URL fetch failure on https://example.org")
    print("Downloading data")
    names = ["crane" if index in (1, 2) else f"class {index}" for index in range(10)]
    return [[(f"n{row.argmax()}", names[row.argmax()], row.max())] for row in probabilities]


def published(**more):
    return cnn_registry.Pretrained("cnnreg_known:trained", lambda: {"first": "first", "last": "last"}, "caffe", **more)


@cnn_registry.register_model(
    family="tiny", summary="A convolution and a classifier", trainable_params=1, input_shape=(12, 12, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    weights={
        "keras:here": published(classes="cnnreg_known:decode", num_classes=10),
        "keras:nameless": published(),
    },
)
def known(input_shape, num_classes):
    '''One convolution.'''
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax", name="last")(x), name="known")
"""


@pytest.fixture
def published(plugins: FakePlugins) -> str:
    """The name of a model whose published weights are made here, and name their ten classes."""
    plugins.install("cnnreg-known", source=KNOWN, entries={"known": "cnnreg_known:known"})
    return "known"


def test_published_weights_predict_with_their_own_classes_and_pixels(
    published: str, colours: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((colours / "red").iterdir())[:2]
    found = predict(published, files, weights="keras:here", top=10)
    assert capsys.readouterr().out == ""
    network = create_model(published, num_classes=10, weights="keras:here")
    outputs = np.asarray(network(scale(np.stack([decode(file, 12) for file in files]), "caffe")))
    names = [f"class {index}" for index in range(10)]
    names[1:3] = ["crane (n1)", "crane (n2)"]
    for prediction, row in zip(found, outputs, strict=True):
        assert dict(prediction) == pytest.approx(dict(zip(names, row.tolist(), strict=True)), abs=1e-5)
    monkeypatch.setenv("OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"The classes of cnnreg_known:trained .*URL fetch failure"):
        predict(published, files, weights="keras:here")


def test_a_model_without_weights_to_use_is_refused_before_anything_is_loaded(published: str, colours: Path) -> None:
    for run, weights, message in (
        (published, "best", r"known is a model, not a run\. Name its weights, 'keras:here' or 'keras:nameless', or"),
        (published, "keras:her", r"has no published weights 'keras:her'\. It has keras:here, keras:nameless"),
        (published, "keras:nameless", "do not say which classes they have"),
        ("knwn", "keras:here", "Did you mean 'known'"),
    ):
        with pytest.raises(UsageError, match=message):
            find_predictor(run, weights)
