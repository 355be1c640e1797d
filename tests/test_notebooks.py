"""The notebooks run as they are, and what they show is what is stored in them, without a line on red."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import script

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))


WAITING = re.compile(
    r"^(Importing|Building|Drawing|Evaluating|Saving|Preparing|Training|Loading|Looking|Tuning|Writing)\b.*\n?",
    re.MULTILINE,
)
"""Lines about what takes seconds on a slow machine."""

VARYING = re.compile(r"[\d█░.,:%+-]+|\s+")


def outputs(cell: Any) -> list[tuple[str, str]]:
    """Each output of a cell: its kind, and its text without numbers, bars and times, which vary."""
    found = []
    for output in cell.get("outputs", []):
        data = {"text/plain": output["text"]} if output["output_type"] == "stream" else output["data"]
        text = "" if len(data) > 1 else "".join(data["text/plain"])  # pictures, tables
        found.append((output.get("name", "display"), VARYING.sub(" ", WAITING.sub("", text)).strip()))
    return [(name, text) for name, text in found if text or name == "display"]


def test_there_are_two() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["train-your-own-folder", "write-a-plugin"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_what_is_stored_is_whole_and_has_nothing_on_red(file: Path) -> None:
    notebook = json.loads(file.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    names = {name for cell in cells for name, _ in outputs(cell)}
    assert names <= {"stdout", "display"}
    assert "/tmp" not in json.dumps(notebook)


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_prints_what_is_stored_in_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, warm_executable: None
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    stored = json.loads(file.read_text(encoding="utf-8"))["cells"]
    ran = script("docs.make_notebooks").executed(file).cells
    assert [outputs(cell) for cell in ran] == [outputs(cell) for cell in stored], "run: make docs"
