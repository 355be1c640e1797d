"""Images that may show several colours: from the table to every command that uses the run."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from cnn_registry import train
from cnn_registry.errors import CnnRegistryError
from cnn_registry.runs.run import Run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

pytestmark = pytest.mark.slow

TAGGER = """
import cnn_registry

@cnn_registry.register_model(
    family="tiny", summary="Two outputs of one convolution", trainable_params=1, input_shape=(8, 8, 3),
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
    features={"stride1": cnn_registry.Feature("c1", (8, 8, 8))}, aux_heads={"aux": 0.3},
)
def tagger(input_shape, num_classes, *, classifier_activation="softmax", aux_heads=False):
    '''A convolution, the mean of each map, and a classifier.'''
    import keras

    inputs = keras.Input(input_shape)
    maps = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="c1")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(maps)
    outputs = keras.layers.Dense(num_classes, activation=classifier_activation, name="predictions")(x)
    if not aux_heads:
        return keras.Model(inputs, outputs, name="tagger")
    aux = keras.layers.Dense(num_classes, activation=classifier_activation, name="aux")(x)
    return keras.Model(inputs, {"predictions": outputs, "aux": aux}, name="tagger")
"""
FAST: dict[str, Any] = {"epochs": 8, "batch_size": 8, "optimizer.learning_rate": 0.05}
COLOURS = ("red", "green", "blue")


@pytest.fixture
def tagger(plugins: FakePlugins) -> str:
    plugins.install("cnnreg-tagger", source=TAGGER, entries={"tagger": "cnnreg_tagger:tagger"})
    return "tagger"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 60 pictures with a column for each of three colours, which any of them may have."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    random = np.random.default_rng(0)
    with (folder / "photos.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", *COLOURS])
        for number in range(60):
            shown = random.random(3) < 0.4
            pixels = random.integers(0, 80, (8, 8, 3)) + 150 * shown
            Image.fromarray(pixels.astype("uint8")).save(folder / f"{number}.png")
            rows.writerow([f"{number}.png", *map(int, shown)])
    return folder / "photos.csv"


def test_every_command_knows_several_labels(
    tagger: str,
    table: Path,
    tmp_path: Path,
    cnnreg: Cnnreg,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mixed = FAST | {"mixing.mixup": 0.2, "mixing.until": 0.3}
    settings = [argument for key, value in mixed.items() for argument in ("--set", f"{key}={value}")]
    code, _, err = cnnreg("train", tagger, "--data", table, *settings, "--out", tmp_path / "runs")
    assert (code, "Error" in err) == (0, False)
    [path] = (tmp_path / "runs").iterdir()
    record = Run.open(path).record
    assert record.recipe.loss.name == "binary_cross_entropy"
    assert record.recipe.model == {"classifier_activation": "sigmoid"}
    assert record.data.class_names == ["blue", "green", "red"]
    assert record.thresholds == record.result["report"]["thresholds"] != [0.5] * 3
    [*_, last] = Run.open(path).history
    assert last.metrics["val_mean_average_precision"] > 0.9
    report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    assert report["measures"]["mean_average_precision"]["value"] > 0.9
    assert not (path / "confusion.png").exists()
    page = (path / "report.html").read_text(encoding="utf-8")
    assert "An image may show several classes, or none." in page
    assert page.count(">mAP<") >= 2  # as a figure and in the glossary
    shown, explained = (set(re.findall(pattern, page)) for pattern in (r'href="#word-(\w+)"', r'id="word-(\w+)"'))
    assert explained == shown | {"recall", "precision", "f1", "threshold"}
    assert not explained & {"top_5", "balanced_accuracy", "temperature", "mcnemar"}
    assert "Confusion matrix" not in page
    assert cnnreg("report", path)[0] == 0
    (path / "report.json").unlink()
    without = {key: value for key, value in record.result.items() if key != "report"}
    assert Run.open(path).updated(result=without).record.thresholds == [0.5] * 3
    assert cnnreg("report", path)[0] == 0
    assert Run.open(path).record.thresholds == pytest.approx(record.thresholds, abs=1e-3)

    code, out, _ = cnnreg("evaluate", path)
    assert (code, "average precision" in out, ": mAP 0.9" in out or ": mAP 1.0" in out) == (0, True, True)
    code, out, _ = cnnreg("evaluate", path, "--data", table, "--json")
    assert (code, json.loads(out)["images"], json.loads(out)["confusion"]) == (0, 12, [])
    picture = tmp_path / "picture.png"
    Image.new("RGB", (8, 8), (200, 20, 200)).save(picture)
    [predicted] = json.loads(cnnreg("predict", path, picture, "--json")[1])
    assert Run.open(path).predict(picture).labels == tuple(predicted["labels"])
    lines = ["--on-bad-image", "skip", "--format", "csv", "--top", 1]
    code, out, _ = cnnreg("predict", path, picture, "missing.png", *lines)
    header, found, missing = csv.reader(out.splitlines())
    assert (header, set(found[3].split("|"))) == (["path", "class", "probability", "labels", "error"], {"red", "blue"})
    assert (len(missing), missing[3], missing[4]) == (5, "", "no such file or directory")
    assert "red" in cnnreg("predict", path, picture)[1]
    assert cnnreg("embed", path, picture, "-o", tmp_path / "features.npz")[0] == 0
    assert Run.open(path).explain([picture], target="red")[0].probability > 0.5

    other = Path(shutil.copytree(path, tmp_path / "other"))
    code, out, err = cnnreg("compare", path, other, "-o", tmp_path / "comparison.html", "--wide")
    assert (code, "mAP" in out, "left out" in err) == (0, True, True)
    assert "McNemar's test, which is for one label per image, is left out" in (tmp_path / "comparison.html").read_text(
        encoding="utf-8"
    ).replace("&#39;", "'")
    exported, evaluation = Run.open(path).export("keras"), Run.open(path).evaluate()
    assert exported.trained.accuracy == evaluation.accuracy
    readme = (exported.path / "README.md").read_text(encoding="utf-8")
    assert "An image may show several classes, or none" in readme
    [code] = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    with monkeypatch.context() as context:
        context.chdir(exported.path)
        context.setattr(sys, "argv", ["predict.py", str(picture)])
        exec(code, {})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [label for _, shown, label in rows if shown == "shown"] == ["blue", "red"]

    single = table.with_name("single.csv")
    single.write_text("path,label\n0.png,red\n1.png,blue\n", encoding="utf-8")
    code, _, err = cnnreg("evaluate", path, "--data", single)
    assert (code, "have one label each; those that" in err, "Traceback" in err) == (1, True, False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"class_weights": "balanced"}, "class_weights = balanced is for images with one. Set class_weights to 'none'"),
        ({"sampling": "balanced"}, "sampling = balanced is for images with one"),
        ({"best_by": "macro_f1"}, "best_by = macro_f1 is for images with one"),
        ({"loss": "focal"}, "the loss focal is for images with one. Use binary_cross_entropy"),
        ({"loss": "cross_entropy"}, "the loss cross_entropy is for images with one"),
    ],
)
def test_settings_for_one_label_are_refused(
    tagger: str, table: Path, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(CnnRegistryError, match=words):
        train(tagger, data=table, settings=FAST | settings, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_models_without_sigmoids_and_sigmoids_without_several_labels_are_refused(
    tagger: str, tiny: str, table: Path, colours: Path, tmp_path: Path
) -> None:
    with pytest.raises(CnnRegistryError, match="tiny has no option 'classifier_activation'"):
        train(tiny, data=table, settings=FAST, out=tmp_path)
    sigmoid = {"model.classifier_activation": "sigmoid"}
    with pytest.raises(CnnRegistryError, match="is for images with several labels; those of colours have one each"):
        train(tagger, data=colours, settings=FAST | sigmoid, out=tmp_path)
