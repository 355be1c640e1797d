"""One training of a model for rectangles, and everything that is made of its run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cnn_registry
from cnn_registry import Run, train
from cnn_registry.data.form import Form
from cnn_registry.data.image import decode
from cnn_registry.explain import explain_images
from cnn_registry.inference.features import embeddings, feature_predictor
from cnn_registry.inference.pictures import given
from cnn_registry.registry.models import get_spec
from cnn_registry.workflows.plan import Request, plan_training
from tests.conftest import TINY, Cnnreg, FakePlugins

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "image_size": [24, 40],
    "optimizer.learning_rate": 0.1,
    "precision": "float32",
    "train_sizes": [16, 24],
    "decode_size": 28,
    "resize": "letterbox",
    "crop_share": 0.8,
    "channels": 1,
    "ema": None,
}


@pytest.fixture
def wide(plugins: FakePlugins) -> str:
    """A model whose own shape is a rectangle."""
    source = re.sub(r"input_shape=\(\d+, \d+, \d\)", "input_shape=(24, 40, 3)", TINY)
    assert source != TINY
    plugins.install("cnnreg-wide", source=source, entries={"tiny": "cnnreg_wide:tiny"})
    return "tiny"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a script ends without closing files
def test_a_rectangular_grey_letterbox_from_training_to_export(
    wide: str, colours: Path, tmp_path: Path, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(wide, data=colours, settings=SETTINGS, out=tmp_path / "runs")
    form = Form(24, 40, 1, "letterbox", 0.8)
    assert (run.record.model.input_shape, run.record.form) == ((24, 40, 1), form)
    assert run.record.recipe.decoded_form(form.shape).size == (28, 47)
    assert "24x40" in (run.path / "report.html").read_text(encoding="utf-8")

    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 30, 3), np.uint8)).save(photo)
    taken = decode(photo, form)
    expected = np.asarray(run.model()(taken[None] / np.float32(255) * 2 - 1))[0]
    [(name, probability), *_] = run.predict(photo).classes
    assert probability == pytest.approx(expected.max(), abs=1e-5)
    assert name == run.record.data.class_names[int(expected.argmax())]
    np.testing.assert_allclose(run.preprocess(photo), taken[None] / np.float32(127.5) - 1, atol=1e-6)
    as_array = run.predict(np.asarray(Image.open(photo)))
    assert as_array.classes[0][1] == pytest.approx(probability, abs=1e-6)

    [feature] = embeddings(feature_predictor(run), given(photo).pictures)
    assert feature.feature is not None
    assert feature.feature.shape == (8,)
    [explained] = explain_images(run, photo)
    assert explained.picture.shape == explained.overlay().shape == (50, 30, 3)
    assert explained.seen == form.seen(50, 30)
    assert run.evaluate(part="val").accuracy == pytest.approx(run.record.result["report"]["accuracy"])
    assert cnnreg("report", run.path).code == 0

    made = run.export("keras", tmp_path / "exported")
    facts = json.loads((made.path / "preprocess.json").read_text(encoding="utf-8"))
    assert (facts["size"], facts["channels"], facts["fit"], facts["fill"]) == ([24, 40], "L", "letterbox", [117])
    assert re.search("30x50 pixels .height x width.*117, then cut 24x40 pixels", facts["resize"])
    readme = (made.path / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    seen: dict[str, Any] = {}
    monkeypatch.chdir(made.path)
    monkeypatch.setattr(sys, "argv", ["predict.py", str(photo)])
    exec(code, seen)
    np.testing.assert_array_equal(seen["picture"], taken)
    np.testing.assert_allclose(seen["probabilities"], expected, atol=1e-5)


def test_the_shape_is_the_users_then_the_models_own_in_proportion(wide: str, colours: Path) -> None:
    def shape(dataset: str | None = None, /, **settings: Any) -> tuple[int, ...]:
        plan = plan_training(
            Request(get_spec(wide), dataset=dataset, data=None if dataset else colours, settings=settings), keep=False
        )
        return plan.form.input_shape

    assert shape() == (24, 40, 3)
    assert shape(**{"photos.size": 12}) == (12, 20, 3)
    assert shape(image_size=16) == (16, 16, 3), "an integer is a square"
    assert shape(image_size="20x32", channels=4) == (20, 32, 4)
    assert shape("digits") == (24, 40, 3), "squares are not the model's"
    assert shape("digits", image_size=[8, 12], channels=1) == (8, 12, 1)


@pytest.mark.parametrize("written", ["96x160", "[96, 160]", "[96,160]"])
def test_a_rectangle_is_written_in_any_form(wide: str, colours: Path, cnnreg: Cnnreg, written: str) -> None:
    options = ["--image-size", written] if "x" in written else ["--set", f"image_size={written}"]
    found = cnnreg("train", wide, "--data", colours, *options, "--dry-run", "--set", "batch_size=4")
    assert found.code == 0, found.err
    assert "at 96x160" in found.out


@pytest.mark.parametrize("size", ["96x160x3", "5x0", "0x5", "0x60", "a", "[1, 2, 3]", "[8, 0]", "1.5", "99999x2"])
def test_another_form_of_a_size_is_refused_in_one_line(wide: str, colours: Path, cnnreg: Cnnreg, size: str) -> None:
    found = cnnreg("train", wide, "--data", colours, "--set", f"image_size={size}", "--dry-run")
    assert (bool(found.code), found.err.count("\n")) == (True, 1), found.err
    assert re.search("image_size: .*(edge|96x160)", found.err), found.err


def test_old_pixels_are_read(tiny: str, trained: Path) -> None:
    run: Run = cnn_registry.load_run(trained)
    assert run.record.form == Form.of(16)
