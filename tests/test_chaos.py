"""A training that is killed ends as one that was left alone. ``make chaos`` does it fifty times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_kill_and_some_flipped_bits(tmp_path: Path) -> None:
    arguments = ["--epochs", "16", "--patience", "4", "--kills", "1", "--within", "3", "--flips", "50"]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *arguments, "--out", str(tmp_path / "chaos.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / "chaos.json").read_text())
    assert result["differences"] == []
    assert result["flips"] == {"made": 50, "detected": 50}
    assert len(result["kills"]) == 1
