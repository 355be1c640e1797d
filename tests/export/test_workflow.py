"""A run in every format, checked by the format's own runtime."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cnn_registry import backend
from cnn_registry.data import Manifest
from cnn_registry.errors import DataError, ExportError, MissingPackageError, UsageError
from cnn_registry.export import FORMATS, Export, FormatName, WeightPrecision
from cnn_registry.runs.run import load_run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

NAMES: list[FormatName] = list(FORMATS)


@pytest.mark.parametrize("name", NAMES)
def test_an_export_predicts_what_the_trained_network_predicts(exports: dict[str, Export], name: FormatName) -> None:
    made = exports[name]
    assert made.exported.largest_difference <= 1e-6
    assert made.exported.agreement == 1
    assert made.exported.accuracy == made.trained.accuracy > 0.9
    assert (made.images, made.part) == (12, "validation images")
    record = json.loads((made.path / "export.json").read_text(encoding="utf-8"))
    assert record["export"]["largest_difference"] == made.exported.largest_difference
    assert record["export"]["ms_single"] > 0 < record["trained_network"]["ms_batch"]
    assert record["export"]["size"] > 0
    assert record["checked"]["bound"] == "no probability may differ by more than 0.0001"
    assert (made.path / FORMATS[name].path).exists()
    readme = (made.path / "README.md").read_text(encoding="utf-8")
    assert f"| {FORMATS[name].title}, float32 |" in readme


FACTS = {"labels", "resize", "run", "licence", "versions", "model", "size", "precision"}


def facts_in_file(name: str, folder: Path) -> dict[str, Any]:
    """What travels in the file of a format; texts that hold JSON are read."""
    if name == "keras":
        found = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    elif name == "saved_model":
        found = json.loads((folder / "1" / "assets" / "metadata.json").read_text(encoding="utf-8"))
    elif name == "onnx":
        import onnx

        found = {entry.key: entry.value for entry in onnx.load(folder / "model.onnx").metadata_props}
    elif name == "litert":
        with zipfile.ZipFile(folder / "model.tflite") as archive:
            assert archive.read("labels.txt").decode() == "blue\ngreen\nred\n"
            found = json.loads(archive.read("metadata.json"))
    else:
        import openvino

        model = openvino.Core().read_model(folder / "model.xml")
        found = {key: model.get_rt_info(["cnn_registry", key]).astype(str) for key in FACTS}
    for key in ("labels", "versions"):
        found[key] = json.loads(found[key]) if isinstance(found[key], str) else found[key]
    return dict(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_facts_travel_in_the_file(exports: dict[str, Export], trained_once: Path, name: FormatName) -> None:
    found = facts_in_file(name, exports[name].path)
    assert found.keys() >= FACTS
    assert found["labels"] == ["blue", "green", "red"]
    assert found["run"] == trained_once.name
    assert "16x16" in found["resize"]
    assert "Lanczos" in found["resize"]
    assert found["licence"] == "unknown"  # the fake plugin states none
    assert found["versions"].keys() >= {"cnn-registry", "keras", "tensorflow", "cnnreg-tiny"}


WITHOUT_US = """
import os, re, sys
sys.modules |= dict.fromkeys(["cnn_registry", *(name for name in sys.modules if name.startswith("cnn_registry."))])
picture, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    [code] = re.findall("^```python\\n(.*?)^```$", open("README.md", encoding="utf-8").read(), re.DOTALL | re.MULTILINE)
    assert code.count("\\n") <= 13, code
    sys.argv = ["predict.py", picture]
    exec(code, {})
"""


@pytest.mark.slow
def test_the_code_of_each_readme_predicts_without_this_library(
    exports: dict[str, Export], colours: Path, run_warm_python: Any
) -> None:
    folders = [str(made.path) for made in exports.values()]
    done = run_warm_python("-c", WITHOUT_US, str(colours / "red" / "0.png"), *folders)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len(rows) == 3 * len(NAMES)
    assert [row[1] for row in rows[::3]] == ["red"] * len(NAMES)
    assert {row[0] for row in rows[::3]} == {rows[0][0]}  # the same probability to four digits


def test_the_saved_model_has_a_version_and_a_signature_with_names(exports: dict[str, Export]) -> None:
    folder = exports["saved_model"].path / "1"
    assert (folder / "saved_model.pb").is_file()
    assert (folder / "variables" / "variables.index").is_file()
    signature = backend.tensorflow().saved_model.load(str(folder)).signatures["serving_default"]
    [images] = signature.structured_input_signature[1].values()
    assert (images.name, images.dtype.name, images.shape.as_list()) == ("images", "uint8", [None, 16, 16, 3])
    outputs = signature.structured_outputs
    assert {name: value.shape.as_list() for name, value in outputs.items()} == {"probabilities": [None, 3]}


def test_the_onnx_file_takes_any_number_of_uint8_images(exports: dict[str, Export]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exports["onnx"].path / "model.onnx")
    [given], [returned] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["batch", 16, 16, 3])
    assert (returned.name, returned.shape) == ("probabilities", ["batch", 3])


@pytest.mark.parametrize(
    ("name", "precision"),
    [(kind.name, precision) for kind in FORMATS.values() for precision in kind.precisions if precision != "float32"],
)
def test_smaller_precisions_are_checked_as_well(
    trained: Path, exports: dict[str, Export], tmp_path: Path, name: FormatName, precision: WeightPrecision
) -> None:
    made = load_run(trained).export(name, tmp_path / "out", precision=precision)
    assert made.exported.agreement >= 0.9
    assert 0 < made.exported.largest_difference < 0.1
    assert made.exported.accuracy > 0.9
    assert made.images == 12


def test_nothing_of_the_process_is_changed(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's would hide one that a package adds

    def state() -> tuple[object, ...]:
        return dict(os.environ), logging.root.manager.disable, list(logging.root.handlers), "object" in vars(np)

    run = load_run(trained)
    before, printed = state(), sys.stdout
    for name in ("saved_model", "onnx", "openvino"):
        run.export(name, tmp_path / name)
    assert state() == before
    assert sys.stdout is printed
    assert "openvino_telemetry" not in sys.modules
    captured = capfd.readouterr()
    assert captured.out == ""
    assert all(re.match(r"(Building|Converting|Checking|Decoding) ", line) for line in captured.err.splitlines())


PLUGIN = """
import keras
import cnn_registry

class Changing(keras.layers.Layer):
    traced = 0

    def call(self, x):
        Changing.traced += 1
        return x + self.traced * keras.ops.arange(x.shape[-1], dtype="float32")

class Determinant(keras.layers.Layer):
    def call(self, x):
        return keras.ops.linalg.det(keras.ops.transpose(x, (0, 3, 1, 2)))

@cnn_registry.register_model(
    family="tiny", summary="A layer of its own", trainable_params=1, input_shape=(16, 16, 3), min_size=4,
    paper=cnn_registry.Paper(title="A", authors="B", year=2020, url="https://example.org"),
)
def tiny(input_shape, num_classes, *, filters=8):
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(filters, 3, activation="relu")(inputs)
    x = OWN(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="tiny")
"""


def with_layer(plugins: FakePlugins, run: Path, layers: str) -> Path:
    """A copy of a run whose plugin now builds another network, with ``layers`` in the place of the pooling."""
    plugins.install("cnnreg-tiny", source=PLUGIN.replace("OWN(x)", layers), entries={"tiny": "cnnreg_tiny:tiny"})
    return Path(shutil.copytree(run, plugins.root / "run"))


def test_a_file_that_predicts_something_else_is_an_error_and_is_not_left(
    plugins: FakePlugins, trained_once: Path, tmp_path: Path
) -> None:
    run = with_layer(plugins, trained_once, "Changing()(keras.layers.GlobalAveragePooling2D()(x))")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ExportError, match=r"SavedModel, float32 does not predict .* no probability may differ by more"):
        load_run(run).export("saved_model", tmp_path / "elsewhere" / "out", force=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_network_that_cannot_be_converted_is_one_line(
    plugins: FakePlugins, trained_once: Path, tmp_path: Path
) -> None:
    run = with_layer(plugins, trained_once, "Determinant()(x)")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ExportError, match=r"^tiny could not be converted to LiteRT: ") as raised:
        load_run(run).export("litert", tmp_path / "elsewhere" / "out", force=True)
    assert "\n" not in str(raised.value)
    assert "Traceback" in raised.value.details
    assert list((tmp_path / "elsewhere").iterdir()) == []


class TestFolder:
    """What may be in the folder of an export."""

    def test_the_default_is_in_the_run(self, trained: Path) -> None:
        made = load_run(trained).export("keras")
        assert made.path == trained.resolve() / "export-keras-float32"

    def test_an_unchanged_export_of_the_same_network_is_replaced(self, trained: Path, tmp_path: Path) -> None:
        run = load_run(trained)
        first = run.export("keras", tmp_path / "out")
        stamp = (first.path / "export.json").stat().st_mtime_ns
        assert (run.export("keras", tmp_path / "out").path / "export.json").stat().st_mtime_ns > stamp

        (tmp_path / "out" / "notes.txt").write_text("mine")
        with pytest.raises(UsageError, match="exists already"):
            run.export("keras", tmp_path / "out")
        (tmp_path / "out" / "notes.txt").unlink()
        (tmp_path / "out" / "README.md").write_text("mine")
        with pytest.raises(UsageError, match="exists already"):
            run.export("keras", tmp_path / "out")
        assert (tmp_path / "out" / "README.md").read_text() == "mine"

    def test_an_export_of_another_form_is_kept(self, trained: Path, exports: dict[str, Export]) -> None:
        with pytest.raises(UsageError, match="exists already, and is not an unchanged export of the same run"):
            load_run(trained).export("keras", exports["onnx"].path)
        assert (exports["onnx"].path / "model.onnx").is_file()

    @pytest.mark.parametrize("content", ["", "[1]", '{"format": "keras"}', "\0"])
    def test_a_folder_of_the_users_is_kept(self, trained: Path, tmp_path: Path, content: str) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "export.json").write_text(content)
        with pytest.raises(UsageError, match="exists already"):
            load_run(trained).export("keras", tmp_path / "out")
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["export.json"]

    def test_what_comes_into_it_meanwhile_is_kept(
        self, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workflow = importlib.import_module("cnn_registry.export.workflow")
        measured = workflow.measured

        def while_somebody_writes(*arguments: Any, **options: Any) -> Any:
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "predict.py").write_text("mine")
            return measured(*arguments, **options)

        monkeypatch.setattr(workflow, "measured", while_somebody_writes)
        with pytest.raises(UsageError, match="exists already"):
            load_run(trained).export("keras", tmp_path / "out")
        assert [file.name for file in (tmp_path / "out").iterdir()] == ["predict.py"]


class TestRequests:
    """What is refused before anything is done."""

    @pytest.mark.parametrize(
        ("name", "precision", "message"),
        [
            ("onx", "float32", r"format must be .* or 'openvino'; got 'onx'\. Did you mean 'onnx'\?"),
            ("onnx", "float23", r"precision must be .* or 'int8'; got 'float23'"),
            ("keras", "int8", r"Keras cannot be exported in int8, only in .?float32.?\. For int8 use --format"),
        ],
    )
    def test_what_no_format_has(self, trained: Path, name: Any, precision: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            load_run(trained).export(name, precision=precision)

    def test_a_missing_package_is_named_with_its_extra(self, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cnn_registry.system.extras.find_spec", lambda name: None)
        with pytest.raises(
            MissingPackageError,
            match=r"Export to LiteRT needs ai-edge-litert, .* pip install 'cnn-registry\[litert\]'",
        ):
            load_run(trained).export("litert")

    def test_images_that_are_gone(self, tiny: str, trained_once: Path, tmp_path: Path) -> None:
        text = (trained_once / "run.json").read_text(encoding="utf-8")
        run = tmp_path / "run"
        run.mkdir()
        given = load_run(trained_once).record.data.given
        assert given is not None
        text = re.sub(r',\n  "sha256": "\w+"', "", text).replace(given, str(tmp_path / "gone"))
        (run / "run.json").write_text(text, encoding="utf-8")
        with pytest.raises(
            DataError, match=r"are no longer at .*gone\. Move them back; cnnreg evaluate .* with --data"
        ):
            load_run(run).export("keras")


def test_other_images_check_it_but_do_not_calibrate(trained: Path, own_colours: Path, tmp_path: Path) -> None:
    (own_colours / "red" / "0.png").unlink()
    run = load_run(trained)
    made = run.export("keras", tmp_path / "out", data=own_colours)
    assert (made.images, made.part) == (59, "images of colours")
    with pytest.raises(UsageError, match="int8 is calibrated with the run's training images"):
        run.export("onnx", tmp_path / "int8", precision="int8", data=own_colours)


def test_images_with_labels_of_another_kind_are_refused(trained: Path, own_colours: Path, tmp_path: Path) -> None:
    table = own_colours / "table.csv"
    table.write_text("path,red,green,blue\nred/0.png,1,0,0\ngreen/0.png,1,1,0\nblue/0.png,0,0,1\n")
    data = Manifest(table, class_columns="red,green,blue")
    with pytest.raises(DataError, match=r"table\.csv have any number of labels; those that .* have one label each"):
        load_run(trained).export("keras", tmp_path / "out", data=data)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_the_table_and_where_the_folder_is(cnnreg: Cnnreg, trained: Path, tmp_path: Path) -> None:
    ended = cnnreg("export", trained, "--format", "keras", "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert re.match(r"network +size +ms, 1 image +ms per image, 32 +accuracy +largest difference +same class", lines[0])
    assert lines[1].startswith("trained network")
    assert lines[2].startswith("Keras, float32")
    assert lines[-1] == f"Exported to {tmp_path / 'out'}"
    as_json = json.loads(cnnreg("export", trained, "--format", "keras", "-o", tmp_path / "out", "--json").out)
    assert as_json["export"]["agreement"] == 1
    assert as_json["path"] == str(tmp_path / "out")
    assert cnnreg("export", trained, "--format", "keras", "-o", trained).code == 2
