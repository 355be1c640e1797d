"""Runs side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.report.compare import compare_runs
from cnn_registry.runs.run import Run, load_run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

pytestmark = pytest.mark.slow


def worse(trained: Path, path: Path, mistakes: int) -> Path:
    """A copy of a run that is wrong for its first validation images, with another learning rate."""
    run = load_run(shutil.copytree(trained, path))
    report = json.loads((path / "report.json").read_text())
    for number in range(mistakes):
        report["predictions"]["predicted"][number] = (report["predictions"]["labels"][number] + 1) % 3
    (path / "report.json").write_text(json.dumps(report))
    run.updated(recipe=run.record.recipe.with_settings({"optimizer.learning_rate": 0.01}))
    return path


def other_images(trained: Path, path: Path) -> Path:
    run = load_run(shutil.copytree(trained, path))
    split = run.record.split
    data = run.record.data.model_copy(update={"digest": "0" * 64})
    Run(run.path, run.record.model_copy(update={"data": data, "split": split})).save()
    return path


def said(err: str) -> list[str]:
    """The lines that do not only say what takes long."""
    return [line for line in err.splitlines() if not line.startswith(("Comparing", "Measuring"))]


def test_the_command_prints_a_table_and_writes_a_page(cnnreg: Cnnreg, trained: Path, tmp_path: Path) -> None:
    second = worse(trained, tmp_path / "second", 8)
    third = worse(trained, tmp_path / "third", 7)
    ended = cnnreg("compare", trained, second, third, "--json")
    assert (ended.code, said(ended.err)) == (0, [])
    found = json.loads(ended.out)
    assert [row["letter"] for row in found["runs"]] == ["A", "B", "C"]
    assert found["same_images"] is True
    assert found["settings"] == [{"setting": "optimizer.learning_rate", "A": "0.1", "B": "0.01", "C": "0.01"}]
    first, _, last = found["pairs"]
    assert (first["only_first"], first["only_second"], first["exact"]) == (8, 0, True)
    assert first["p"] == pytest.approx(3 * 2 / 2**8)  # adjusted for three pairs
    assert (last["only_first"], last["only_second"], last["p"]) == (0, 1, 1)
    for row in found["runs"]:
        assert row["parameters"] == 8 * 27 + 8 + 8 * 3 + 3
        assert row["ms_batch"] > 0
        assert row["ms_single"] > 0
    page = Path(found["page"])
    assert page == tmp_path / "comparison.html"
    text = page.read_text(encoding="utf-8")
    assert "A is better than B: 8 images only A gets right, 0 only B (p = 0.023" in text
    assert "B and C may be equally good" in text
    assert "Validation loss by epoch" in text
    ended = cnnreg("compare", trained, second, "-o", tmp_path / "other.html")
    assert ended.code == 0
    assert f"A: {trained}" in ended.out
    assert "A is better than B" in ended.out
    assert "optimizer.learning_rate" in ended.out
    page.write_text("mine")
    assert cnnreg("compare", trained, second).code == 1
    assert page.read_text() == "mine"


def test_runs_of_other_images_are_compared_by_their_settings_only(
    cnnreg: Cnnreg, trained: Path, tmp_path: Path
) -> None:
    ended = cnnreg("compare", trained, other_images(trained, tmp_path / "second"))
    assert ended.code == 0
    [line] = said(ended.err)
    assert "validated on different images" in line
    assert "McNemar" not in ended.out
    assert "100.0 %" not in ended.out
    assert "Validation loss by epoch" not in (tmp_path / "comparison.html").read_text(encoding="utf-8")


def test_a_run_whose_network_is_missing_has_no_speed(cnnreg: Cnnreg, trained: Path, tmp_path: Path) -> None:
    second = worse(trained, tmp_path / "second", 1)
    (second / "best.weights.h5").unlink()
    ended = cnnreg("compare", trained, second, "--json")
    assert ended.code == 0
    assert "speed" in ended.err
    row = json.loads(ended.out)["runs"][1]
    assert (row["ms_batch"], row["parameters"], row["bytes"]) == (None, None, None)
    assert row["accuracy"] is not None


def test_one_run_is_not_compared(trained: Path) -> None:
    run = load_run(trained)
    with pytest.raises(UsageError, match="at least two runs; got 1"):
        compare_runs([run])
    with pytest.raises(UsageError, match="named twice"):
        compare_runs([run, load_run(trained)])
