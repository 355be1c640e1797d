"""Tunings, on a model that trains in a second."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import tomllib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil
import pytest

from cnn_registry import backend, load_recipe, train, tune
from cnn_registry.errors import TrainingError, UsageError
from cnn_registry.runs.run import Run
from cnn_registry.tuning.folder import tuning_in
from cnn_registry.tuning.outcome import Tuned
from cnn_registry.tuning.study import ERROR, OWNER, RETRY_OF, named_part
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

keras = backend.keras()

SETTINGS: dict[str, Any] = UNVARIED | {"epochs": 2, "batch_size": 8, "image_size": 16, "best_by": "accuracy"}
SPACE = """
optimizer.learning_rate = {low = 1e-3, high = 1.0, log = true}
model.filters = {choices = [4, 8]}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    (tmp_path / "space.toml").write_text(SPACE)
    return tmp_path / "space.toml"


def study_in(folder: Path, name: str = "tiny on colours") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'study.db'}")


@pytest.mark.slow
def test_a_tuning_is_stopped_continued_and_ends_with_the_best_recipe(
    tiny: str, colours: Path, tmp_path: Path, space: Path, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, callbacks: Any, **options: Any) -> Run:
        stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: signal.raise_signal(signal.SIGINT))
        return train(*arguments, callbacks=[*callbacks, stop], **options)

    out = tmp_path / "out"
    settings = SETTINGS | {"optimizer.learning_rate": 0.1, "optimizer.for_images": 16}  # 0.05 for batches of 8
    with monkeypatch.context() as patched:
        patched.setattr("cnn_registry.tuning.trials.train", interrupted)
        stopped = tune(tiny, data=colours, settings=settings, space=space, out=out, trials=2, sampler="random")
    assert stopped.stopped == "interrupted"
    assert [row["state"] for row in stopped.trials] == ["lost", "waiting"]
    found = tune(tiny, data=colours, settings=settings, space=space, out=out, trials=2, sampler="random")
    assert [row["state"] for row in found.trials] == ["lost", "complete", "complete"]
    first = found.trials[1]
    assert first["settings"] == {"optimizer.learning_rate": 0.05, "model.filters": 8}  # the recipe as it is
    assert [resumption.step for resumption in Run.open(Path(str(first["run"]))).record.resumed] == [6]
    assert found.run
    best = max(found.trials[1:], key=lambda row: row["value"])
    assert found.best == best["settings"]
    # Trials have seen neither of the images that the result is about, and the last run chooses nothing by them.
    trial = Run.open(Path(str(best["run"])))
    assert trial.record.recipe.optimizer.learning_rate == best["settings"]["optimizer.learning_rate"]
    assert set(found.run.record.split.val) == set(trial.record.split.test)
    assert set(found.run.record.split.train) == {*trial.record.split.train, *trial.record.split.val}
    assert found.run.record.recipe.best_by == "last"
    assert found.accuracy == found.run.record.result["last"]["val_accuracy"]
    assert not (trial.path / "report.html").exists()
    recipe = load_recipe(out / "best.toml")
    assert recipe.best_by == "accuracy"
    assert recipe.optimizer.learning_rate == found.best["optimizer.learning_rate"]
    assert recipe.model["filters"] == found.best["model.filters"]
    page = (out / "tuning.html").read_text()
    assert "Tuning of tiny on colours" in page
    assert "optimizer.learning_rate" in page
    assert "http" not in page.partition("<body>")[2]
    assert tomllib.loads((out / "space.toml").read_text()).keys() == {"optimizer", "model"}

    more = cnnreg("tune", "--resume", "-o", out, "--trials", 3, "--json")
    assert more.code == 0, more.err
    data = json.loads(more.out)
    assert [row["number"] for row in data["trials"]] == [0, 1, 2, 3]
    assert "continues after 2 trials" in more.err
    assert json.loads((out / "tune.json").read_text())["sampler"] == "random"
    changed = [f"--set={key}={value}" for key, value in (settings | {"epochs": 3}).items()]
    other = cnnreg("tune", tiny, "--data", colours, "--trials", 3, "-o", out, "--space", space, *changed)
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "has recipe.epochs = 2, not 3" in other.err


POSTGRES = "CNNREG_TEST_POSTGRES"
"""The variable with the address of a PostgreSQL database, in which studies are made."""


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_processes_share_a_study_and_one_is_killed(
    tiny: str, colours: Path, tmp_path: Path, space: Path, warm_python: list[str], database: str
) -> None:
    out = tmp_path / "out"
    url, name = f"sqlite:///{out / 'study.db'}", "tiny on colours"
    if database == "postgresql":
        if POSTGRES not in os.environ:
            pytest.skip(f"needs a PostgreSQL database, whose address is in {POSTGRES}")
        url, name = os.environ[POSTGRES], f"{name} {uuid.uuid4()}"
    settings = [f"--set={key}={value}" for key, value in (SETTINGS | {"epochs": 8}).items()]
    command = [*warm_python, "-m", "cnn_registry", "tune", tiny, "--data", str(colours), "--trials", "3"]
    command += ["--space", str(space), "-o", str(out), "--pruner", "none", *settings, "--study", name]
    command += ["--storage", url] if database == "postgresql" else []
    logs = [tmp_path / f"log{number}" for number in range(2)]
    both = []
    for path in logs:
        with path.open("w") as log:
            both.append(subprocess.Popen(command, stderr=log, stdout=log))
    killed = both[0]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "epoch 2/8" not in logs[0].read_text():
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert both[1].wait(timeout=200) == 0, logs[1].read_text()
    storage = optuna.storages.RDBStorage(url)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    states = [trial.state.name for trial in trials]
    assert states.count("COMPLETE") == 3
    [lost] = [trial for trial in trials if trial.state.name == "FAIL"]
    [again] = [trial for trial in trials if trial.user_attrs.get(RETRY_OF) == lost.number]
    assert again.params == lost.params
    assert ERROR not in lost.user_attrs
    assert not psutil.pid_exists(lost.user_attrs[OWNER]["pid"])
    run = Run.open(Path(again.user_attrs["run"]))
    assert [row.epoch for row in run.history] == list(range(1, 9))
    assert run.record.resumed  # from its checkpoint, not from the beginning
    assert (out / "best.toml").is_file()


def test_hopeless_tunings_end_with_the_reason(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Path
) -> None:
    def fail(*arguments: Any, **options: Any) -> Run:
        raise TrainingError("Training failed after step 0 (epoch 1): out of memory.")

    monkeypatch.setattr("cnn_registry.tuning.trials.train", fail)
    with pytest.raises(TrainingError, match="All 3 trials failed, the last: Training failed after step 0"):
        tune(tiny, data=colours, settings=SETTINGS, space=space, trials=9, out=tmp_path / "out")
    trials = study_in(tmp_path / "out").trials
    assert [trial.state.name for trial in trials] == ["FAIL"] * 3
    assert all("out of memory" in trial.user_attrs[ERROR] for trial in trials)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "Say when to stop"),
        ({"trials": 0}, "at least one trial"),
        ({"time": "2"}, "--time: expected a time"),
        ({"trials": 1, "sampler": "tpf"}, "Optuna has no sampler 'tpf'. Did you mean 'tpe'"),
        ({"trials": 1, "pruner": "median,n_startup=3"}, "n_startup"),
        ({"trials": 1, "storage": "tune.db"}, "is not an address"),
        ({"trials": 1, "storage": "oracel://x"}, "cannot be opened"),
        ({"trials": 1, "storage": "sqlite:///no/folder/t.db"}, "There is no folder"),
        ({"trials": 1, "resume": True}, "There is no tuning in .* to resume"),
        ({"trials": 1, "settings": {"best_by": "last"}}, "chooses nothing"),
        ({"trials": 1, "settings": {"schedule": "plateau"}}, "'plateau' watches"),
        ({"trials": 1, "space": "none.toml"}, "The space none.toml cannot be read"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {file.name for file in tmp_path.iterdir()} | {"cache"}
    settings = SETTINGS | options.pop("settings", {})
    with pytest.raises(UsageError, match=reason):
        tune(tiny, data=colours, settings=settings, **{"out": tmp_path / "out"} | options)
    left = {file.name for file in tmp_path.iterdir()}
    assert left <= before, left


@pytest.mark.parametrize(
    ("until", "again"), [(("--time", "90s"), " --time 90s"), (("--trials", 2, "--time", "1h"), "")]
)
def test_the_command_that_resumes_a_stopped_search_is_not_refused(
    cnnreg: Cnnreg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: tuple[object, ...], again: str
) -> None:
    stopped = Tuned(tmp_path / "out", "study", (), stopped="interrupted")
    monkeypatch.setattr("cnn_registry.tuning.tune.tune", lambda *arguments, **options: stopped)
    ended = cnnreg("tune", "lenet5", "--dataset", "digits", *until)
    assert (ended.code, ended.out.splitlines()[-1]) == (
        130,
        f"resume with: cnnreg tune --resume -o {tmp_path / 'out'}{again}",
    )


def test_a_folder_of_something_else_is_refused(tiny: str, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a tuning, and not empty"):
        tune(tiny, data=colours, settings=SETTINGS, trials=1, out=tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        {"model": 5},
        {"model": "lenet5", "settings": [1]},
        {"model": "lenet5", "trials": "9"},
        {"model": "lenet5", "dataset": []},
        {"settings": {}},
        [1],
        "[" * 100_000,
    ],
)
def test_a_record_of_other_types_is_one_line(tmp_path: Path, record: Any) -> None:
    (tmp_path / "tune.json").write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(UsageError, match=r"it has no tune\.json that can be read"):
        tuning_in(tmp_path)


def test_a_record_without_an_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "tune.json").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=r"it has no tune\.json that can be read"):
        tuning_in(tmp_path)


def test_samplers_and_pruners_are_named_like_optunas() -> None:
    sampler = named_part(optuna.samplers, "Sampler", "TPESampler,multivariate=true,n_startup_trials=3", seed=1)
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert isinstance(named_part(optuna.samplers, "Sampler", "random"), optuna.samplers.RandomSampler)
    assert isinstance(
        named_part(optuna.pruners, "Pruner", "successive_halving"), optuna.pruners.SuccessiveHalvingPruner
    )
    assert isinstance(named_part(optuna.pruners, "Pruner", "none"), optuna.pruners.NopPruner)
