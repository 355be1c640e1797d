"""The folder of a tuning: its name, its database, and what is recorded of the command."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from sqlalchemy.engine import make_url

from cnn_registry.errors import UsageError
from cnn_registry.tuning.folder import new_folder, own_storage, tuning_in, write_record
from cnn_registry.tuning.lost import is_lost, this_process
from cnn_registry.tuning.storage import absolute
from cnn_registry.tuning.study import OWNER


def task(data: str = "colours", recipe: str | None = None) -> Any:
    return SimpleNamespace(
        spec=SimpleNamespace(name="lenet5"),
        model="lenet5",
        images={"dataset": data, "data": None, "max_pixels": None},
        recipe=recipe,
        settings={},
        space={},
        plan=SimpleNamespace(data=SimpleNamespace(name=data)),
    )


@pytest.mark.parametrize("data", ["colours", "hf:user/name", "../up", "what?"])
def test_tunings_that_begin_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = {new_folder(task(data)) for _ in range(3)}
    assert len(folders) == 3
    assert folders == set(Path("runs").iterdir())
    assert not any(set(":?") & set(folder.name) for folder in folders)


@pytest.mark.parametrize("name", ["plain", "with space", "what?", "a#b", "50%20"])
def test_the_database_of_a_tuning_is_in_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    try:
        address = absolute(own_storage(folder), exists=False)
    except UsageError:  # by a version of SQLAlchemy that writes no escapes into addresses
        pytest.skip("this version of SQLAlchemy writes no escapes")
    assert make_url(address).database == str(folder / "study.db")
    write_record(folder, task(), address, "study", 3, {"sampler": "tpe", "pruner": "none"})
    assert tuning_in(folder)["storage"] is None
    write_record(folder, task(), f"sqlite:///{folder}/deeper/study.db", "study", 3, {})
    assert tuning_in(folder)["storage"] == f"sqlite:///{folder}/deeper/study.db"


def test_settings_may_be_numpys_numbers_and_paths(tmp_path: Path) -> None:
    what = task()
    what.settings |= {
        "epochs": np.int64(3),
        "optimizer.learning_rate": np.float32(0.5),
        "fine_tuning.weights": tmp_path,
    }
    write_record(tmp_path, what, own_storage(tmp_path), "study", 3, {})
    settings = tuning_in(tmp_path)["settings"]
    assert settings == {"epochs": 3, "optimizer.learning_rate": 0.5, "fine_tuning.weights": str(tmp_path)}


def test_a_recipes_name_stays_a_name_beside_a_folder_that_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "article").mkdir()
    (tmp_path / "own.toml").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    for recipe, recorded in {"article": "article", "own.toml": tmp_path / "own.toml", "run": tmp_path / "run"}.items():
        write_record(tmp_path, task(recipe=recipe), own_storage(tmp_path), "study", 3, {})
        assert tuning_in(tmp_path)["recipe"] == str(recorded)


def test_a_process_is_not_lost_where_the_clock_was_set() -> None:
    other = psutil.Process(os.getppid())
    owner = this_process() | {"pid": other.pid, "started": other.create_time()}

    def lost(**changes: Any) -> bool:
        trial: Any = SimpleNamespace(user_attrs={OWNER: owner | changes})
        return is_lost(trial, datetime.now())

    assert not lost()
    assert not lost(started=owner["started"] + 1)
    assert lost(started=owner["started"] + 60)
    assert lost(pid=os.getpid())
    assert not lost(host="elsewhere", pid=2**30)
