"""A training that is stopped and resumed, as TensorBoard, MLflow and Weights & Biases see it.

MLflow and Weights & Biases are not among the packages for development; where they are absent, their tests are skipped.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import struct
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import pytest

import cnn_registry
from cnn_registry.errors import CnnRegistryError, UsageError
from cnn_registry.registry.current import Registry, use_registry
from cnn_registry.runs.record import OptionsRecord
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import collected_notes
from cnn_registry.tracking.tensorboard import TensorBoard
from cnn_registry.tracking.trackers import NAMES, Trackers, tracker_names
from tests.conftest import TINY, UNVARIED, FakePlugins

SETTINGS: dict[str, Any] = UNVARIED | {"epochs": 3, "batch_size": 16, "image_size": 16, "metrics": ["AUC,name=auc"]}

needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="Weights & Biases is not installed")
train = partial(cnn_registry.train, report=False)


class Stop(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
    """Asks for an end after the first epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a session in which the trackers keep everything on this machine."""
    root = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as monkeypatch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the trackers' own packages
        monkeypatch.chdir(root)
        monkeypatch.setenv("CNNREG_CACHE", str(root / "cache"))
        for name, value in {
            "MLFLOW_TRACKING_URI": (root / "mlruns").as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
            "MLFLOW_EXPERIMENT_NAME": "flowers",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "WANDB_MODE": "offline",
            "WANDB_PROJECT": "flowers",
            "WANDB_CACHE_DIR": str(root / "wandb-cache"),
        }.items():
            monkeypatch.setenv(name, value)
        FakePlugins(root, monkeypatch).install("cnnreg-tiny", source=TINY, entries={"tiny": "cnnreg_tiny:tiny"})
        with use_registry(Registry()):
            yield root
    sys.modules.pop("cnnreg_tiny", None)


@pytest.fixture(scope="module")
def followed(here: Path, colours: Path) -> Run:
    """A run that was stopped after an epoch and resumed to its end, with each tracker that is installed."""
    names = [name for name in NAMES if find_spec(name)]
    run = train("tiny", data=colours, settings=SETTINGS, out=here / "runs", callbacks=[Stop()], track=names)
    assert run.record.status == "terminated"
    assert run.record.options.track == names
    resumed = cnn_registry.resume(run.path)
    assert resumed.record.trackers == run.record.trackers
    assert sorted(resumed.record.trackers) == sorted(names)
    return resumed


def test_tensorboard_gets_settings_curves_and_result(followed: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    folder = followed.path / "tensorboard"
    root, training, validation = (EventAccumulator(str(folder / name)).Reload() for name in ("", "train", "validation"))
    history = followed.history
    for events, tag, values in (
        (training, "epoch_loss", [row.loss for row in history]),
        (training, "epoch_auc", [row.metrics["auc"] for row in history]),
        (training, "epoch_learning_rate", [row.learning_rate for row in history]),
        (validation, "epoch_accuracy", [row.val_accuracy for row in history]),
    ):
        found = [(event.step, make_ndarray(event.tensor_proto).item()) for event in events.Tensors(tag)]
        assert found == [(step, pytest.approx(value)) for step, value in enumerate(values)]
    texts = {tag: events[-1] for tag in root.Tags()["tensors"] for events in [root.Tensors(tag)]}
    [settings] = texts["settings"].tensor_proto.string_val
    assert b"| optimizer.momentum | 0.9 |" in settings
    [result] = texts["result"].tensor_proto.string_val
    assert b"| status | finished |" in result
    assert b"report_accuracy" in result


@needs_mlflow
def test_mlflow_gets_parameters_metrics_and_artifacts_in_one_run(followed: Run) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("flowers")
    assert experiment is not None
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.run_id == followed.record.trackers["mlflow"]
    assert (found.info.run_name, found.info.status) == (followed.path.name, "FINISHED")
    assert found.data.params["optimizer.momentum"] == "0.9"
    assert found.data.params["architecture"] == "tiny"
    for name in ("val_loss", "learning_rate", "val_auc"):
        logged = client.get_metric_history(found.info.run_id, name)
        rows = [{**row.to_dict(), **row.metrics} for row in followed.history]
        assert [each.step for each in logged] == [1, 2, 3]
        assert [each.value for each in logged] == pytest.approx([row[name] for row in rows])
    assert found.data.metrics["report_accuracy"] == followed.record.result["report"]["accuracy"]
    names = {item.path for item in client.list_artifacts(found.info.run_id)}
    assert names == {"best.weights.h5", "run.json", "report.json", "report.html"}
    kept = Path(client.download_artifacts(found.info.run_id, "run.json"))
    assert kept.read_bytes() == (followed.path / "run.json").read_bytes()


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of an offline run: after a header of 7 bytes, LevelDB's log of blocks of 32 KiB."""
    content, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield parts
            parts = b""


@needs_wandb
def test_wandb_gets_configuration_history_and_artifact_in_one_run(followed: Run, here: Path) -> None:
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    name = followed.record.trackers["wandb"]
    files = sorted(here.glob(f"wandb/offline-run-*-{name}*/*.wandb"))
    records = [messages.Record.FromString(data) for file in files for data in wandb_records(file)]
    assert {record.run.project for record in records if record.HasField("run")} == {"flowers"}
    config = {item.key: json.loads(item.value_json) for record in records for item in record.config.update}
    assert (config["architecture"], config["optimizer.momentum"]) == ("tiny", 0.9)
    rows = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [row["_step"] for row in rows] == [1, 2, 3]
    assert [row["val_auc"] for row in rows] == pytest.approx([row.metrics["val_auc"] for row in followed.history])
    summary = {item.key: json.loads(item.value_json) for record in records for item in record.summary.update}
    assert summary["report_accuracy"] == followed.record.result["report"]["accuracy"]
    kept = {entry.path for record in records for entry in record.artifact.manifest.contents}
    assert kept == {"best.weights.h5", "run.json", "report.json", "report.html"}


def failing(self: TensorBoard, *arguments: object) -> None:
    raise ConnectionError("no way to http://me:secret@host/\nat all")


SAID = "TensorBoard failed, and the training continues without it: ConnectionError: no way to http://host/ at all."


def test_a_tracker_that_raises_is_left_out_and_loses_nothing(
    here: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorBoard, "epoch", failing)
    with collected_notes() as notes:
        run = train("tiny", data=colours, settings=SETTINGS, out=here / "runs", track="tensorboard")
    assert run.record.status == "finished"
    assert len(run.history) == 3
    assert [line for line in notes if "TensorBoard" in line] == [SAID]


@pytest.mark.parametrize("part", ["begin", "end"])
def test_one_that_raises_at_the_beginning_or_at_the_end_also(
    trained: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    run, trackers = Run.open(trained), Trackers(("tensorboard",))
    monkeypatch.setattr(TensorBoard, part, failing)
    with collected_notes() as notes:
        begun = trackers.begin(run, run.history)
        trackers.epoch(run.history[0])
        trackers.end(begun)
    assert notes == [SAID]
    assert begun.record.trackers == ({} if part == "begin" else {"tensorboard": "tensorboard"})


@pytest.mark.parametrize("name", ["my run, 2nd try", "é@=+"])
def test_an_id_that_the_user_chose_for_a_tracker_is_kept(
    trained: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def begin(self: TensorBoard, run: Run, known: str) -> bool:
        self.id = name
        return False

    monkeypatch.setattr(TensorBoard, "begin", begin)
    Trackers(("tensorboard",)).begin(Run.open(trained), [])
    assert Run.open(trained).record.trackers == {"tensorboard": name}


def test_a_recorded_tracker_whose_package_is_gone_is_left_out(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with collected_notes() as notes:
        Trackers(("tensorboard",)).begin(Run.open(trained), [])
    [line] = notes
    assert "pip install 'cnn-registry[tensorboard]'" in line
    assert not (trained / "tensorboard").exists()


def test_a_tracker_that_cannot_work_is_refused_before_anything_is_written(
    here: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(words: str, track: str) -> None:
        with pytest.raises(CnnRegistryError, match=words):
            train("tiny", data=colours, settings=SETTINGS, out=tmp_path / "runs", track=track)
        assert not (tmp_path / "runs").exists()

    refused(r"no tracker 'mlfow'; expected 'tensorboard', 'mlflow' or 'wandb'\. Did you mean 'mlflow'", "mlfow")
    for name, title in (("mlflow", "MLflow"), ("wandb", "Weights & Biases")):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, name, None)
            refused(rf"{title}, which is not installed. Install with: pip install 'cnn-registry\[{name}\]'", name)


@needs_mlflow
def test_an_address_that_mlflow_does_not_know_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnn_registry.tracking.mlflow import MLflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://user:secret@host/x")
    with pytest.raises(UsageError, match="cannot use the tracking URI ftp://host/x; set") as caught:
        MLflow.check()
    assert "secret" not in str(caught.value)


def test_trackers_are_named_once_and_earlier_records_are_read() -> None:
    assert tracker_names(["wandb", "mlflow", "wandb"]) == ("wandb", "mlflow")
    assert tracker_names("mlflow") == ("mlflow",)
    assert OptionsRecord.model_validate({"tensorboard": True}).track == ["tensorboard"]
    assert OptionsRecord.model_validate({"tensorboard": False}).track == []
