"""Figures that are not finite numbers, which JSON cannot express."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from cnn_registry.cli.output import print_json
from cnn_registry.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_run_with_one_can_be_read_again(trained: Path, value: float) -> None:
    run = Run.open(trained)
    row = run.record.result["last"] | {"val_loss": value, "metrics": {"auc": value, "val_auc": 0.5}}
    run.finish("finished", run.record.result | {"last": row})
    json.loads((trained / "run.json").read_text(), parse_constant=pytest.fail)
    read = Run.open(trained).record.result["last"]
    assert math.isnan(read["val_loss"])
    assert math.isnan(read["metrics"]["auc"])
    assert (read["metrics"]["val_auc"], read["val_accuracy"]) == (0.5, row["val_accuracy"])


def test_what_is_printed_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [1.5, (math.inf, {"c": -math.inf})], "d": True})
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"a": None, "b": [1.5, [None, {"c": None}]], "d": True}
