"""What is made of the best trial where that was begun before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnn_registry.tuning import retraining


@pytest.mark.parametrize("report", [{}, {"report": {"error": "OSError: No space left on device"}}])
def test_a_training_that_ended_without_its_report_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: dict[str, Any]
) -> None:
    ended: Any = SimpleNamespace(record=SimpleNamespace(status="finished", result={"last": {"val_accuracy": 0.75}}))
    ended.record.result |= report
    monkeypatch.setattr(retraining, "newest", lambda out: ended)
    monkeypatch.setattr(retraining, "_stopping", lambda what, best: None)
    what, best = SimpleNamespace(space={}), SimpleNamespace(number=3, params={})
    assert retraining.retrained(what, tmp_path, best) == (ended, 0.75)  # type: ignore[arg-type]  # all that is used
