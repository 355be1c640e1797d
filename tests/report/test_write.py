"""The report as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.runs.run import Run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg


def test_the_report_agrees_with_the_record(trained: Path) -> None:
    report = json.loads((trained / "report.json").read_text())
    run = Run.open(trained)
    assert report["accuracy"] == run.record.result["report"]["accuracy"]
    assert [row["class"] for row in report["classes"]] == run.record.data.class_names
    assert sum(map(sum, report["confusion"])) == report["images"] == len(run.record.split.val)
    for row, counts in zip(report["classes"], report["confusion"], strict=True):
        assert row["images"] == sum(counts)
        assert row["recall"] == pytest.approx(max(counts) / sum(counts))


def test_a_run_without_a_report_gets_all_of_it(cnnreg: Cnnreg, trained: Path, tmp_path: Path) -> None:
    names = ("report.json", "report.html", "curves.png", "confusion.png")
    before = json.loads((trained / "report.json").read_text())
    for name in names:
        (trained / name).unlink()
    run = Run.open(trained)
    result = run.record.result
    run.updated(result={key: value for key, value in result.items() if key != "report"})
    assert cnnreg("report", trained, "-o", tmp_path / "page.html").code == 0
    assert not any((trained / name).exists() for name in names), "another file was asked for"
    with Run.open(trained).locked():
        ended = cnnreg("report", trained)
    assert (ended.code, "Another process is training" in ended.err) == (0, True)
    assert [name for name in names if (trained / name).exists()] == ["report.html"]
    assert cnnreg("report", trained).code == 0
    assert all((trained / name).exists() for name in names)
    after = json.loads((trained / "report.json").read_text())
    assert (after["part"], after["confusion"]) == (before["part"], before["confusion"])
    assert after["predictions"]["predicted"] == before["predictions"]["predicted"]
    made = Run.open(trained).record.result
    assert made["report"]["accuracy"] == result["report"]["accuracy"]
    assert made["best"] == result["best"]
