"""The folder of a tuning may be somebody else's: it runs no code, and changes no database that is not Optuna's."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cnn_registry import load_recipe
from cnn_registry.errors import UsageError
from cnn_registry.tuning.folder import tuning_in
from cnn_registry.tuning.storage import absolute


@pytest.mark.parametrize(
    "named",
    [
        {"settings": {"callbacks": ["evil:Callback"]}},
        {"settings": {"loss.name": "evil:loss"}},
        {"settings": {"loss": "evil:loss"}},
        {"settings": {"optimizer.name": "os:system", "optimizer.options": {"command": "touch PWNED"}}},
        {"settings": {"augmentation.steps": ["evil:step"]}},
        {"recipe": load_recipe("default").to_dict() | {"callbacks": ["evil:Callback"]}},
        {"recipe": load_recipe("default").to_dict(), "settings": {"metrics": ["evil:metric"]}},
    ],
)
def test_a_record_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('PWNED', 'w').close()\n")
    (tmp_path / "tune.json").write_text(json.dumps({"model": "lenet5", "trials": 1} | named))
    with pytest.raises(UsageError, match=r"^The tuning .* names code that would run: .* CNNREG_OBJECTS="):
        tuning_in(tmp_path)
    assert not (tmp_path / "PWNED").exists()
    assert "evil" not in sys.modules
    monkeypatch.setenv("CNNREG_OBJECTS", "evil,os")
    assert tuning_in(tmp_path)["model"] == "lenet5"


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_a_database_of_something_else_is_left_alone(tmp_path: Path, form: str) -> None:
    file = tmp_path / "diary.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE diary (day)")
    before = file.read_bytes()
    with pytest.raises(UsageError, match="does not hold a study to resume"):
        absolute(form.format(file), exists=True)
    assert file.read_bytes() == before
