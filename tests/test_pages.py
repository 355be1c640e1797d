"""The pages that are made from measurements are what the scripts make of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["checks", "reliability"])
def test_the_page_is_what_its_script_prints(page: str) -> None:
    script = ROOT / "docs" / f"make_{page}.py"
    made = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") == made.stdout, "run: make docs"
