"""The report as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnn_registry.runs.run import Run


def test_the_report_agrees_with_the_record(trained: Path) -> None:
    report = json.loads((trained / "report.json").read_text())
    run = Run.open(trained)
    assert report["accuracy"] == run.record.result["report"]["accuracy"]
    assert [row["class"] for row in report["classes"]] == run.record.data.class_names
    assert sum(map(sum, report["confusion"])) == report["images"] == len(run.record.split.val)
    for row, counts in zip(report["classes"], report["confusion"], strict=True):
        assert row["images"] == sum(counts)
        assert row["recall"] == pytest.approx(max(counts) / sum(counts))
