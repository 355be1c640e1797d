from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnn_registry import train
from cnn_registry.errors import RecipeError
from cnn_registry.training.callbacks.time_limit import TimeLimit

SETTINGS: dict[str, Any] = {"epochs": 10_000, "batch_size": 8, "image_size": 16, "ema": 0.5, "mixing.until": 0.5}


@pytest.mark.slow
def test_a_training_ends_in_time_with_its_report(
    tiny: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TimeLimit, "REPORT", 1.0)
    run = train(tiny, data=colours, settings=SETTINGS, out=tmp_path, time_limit="5s")
    assert run.record.status == "finished"
    assert run.record.recipe.time_limit == "5s"
    assert run.record.result["ended_by"].startswith("the time limit of 5s, after ")
    assert 0 < len(run.history) < SETTINGS["epochs"]
    assert (run.path / "report.html").is_file()


def test_what_is_not_a_time_is_refused_before_anything_is_written(tiny: str, colours: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"time_limit: expected a time .* for instance 90s, 30m or 2h; got '30'"):
        train(tiny, data=colours, out=tmp_path / "runs", time_limit="30")
    assert not (tmp_path / "runs").exists()
