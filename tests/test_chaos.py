"""A training that is killed ends as one that was left alone. ``make chaos`` does it fifty times."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_kill_and_some_flipped_bits(tmp_path: Path, warm_python: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import chaos

    monkeypatch.setattr(chaos, "PYTHON", warm_python)
    arguments = ["--epochs", "16", "--patience", "4", "--kills", "1", "--within", "3", "--flips", "50"]
    monkeypatch.setattr(sys, "argv", ["chaos", *arguments, "--out", str(tmp_path / "chaos.json")])
    chaos.main()
    result = json.loads((tmp_path / "chaos.json").read_text())
    assert result["differences"] == []
    assert result["flips"] == {"made": 50, "detected": 50}
    assert len(result["kills"]) == 1
