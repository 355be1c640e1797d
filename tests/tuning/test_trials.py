"""The trials of a process beside another one's."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_registry.tuning.study import OWNER
from cnn_registry.tuning.trials import Trials

optuna = pytest.importorskip("optuna", reason="optuna is not installed")


def test_of_two_processes_that_begin_the_last_trial_at_once_one_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study()
    states = optuna.trial.TrialState
    ask = study.ask
    others: list[Any] = []

    def ask_too_late() -> Any:
        if not others:
            others.append(ask())
            others[0].set_user_attr(OWNER, {"host": "elsewhere", "pid": 1, "started": 0.0})
        return ask()

    monkeypatch.setattr(study, "ask", ask_too_late)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: study.tell(others[0], 1.0))
    monkeypatch.setattr("cnn_registry.tuning.trials.time", clock)
    what: Any = SimpleNamespace(space={})
    storage: Any = None
    assert Trials(what, study, storage, tmp_path, 1, math.inf).run() == ""
    assert [trial.state for trial in study.trials] == [states.COMPLETE, states.FAIL, states.WAITING]
    assert not any(tmp_path.iterdir())
