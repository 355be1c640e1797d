"""Run the notebooks in ``docs/notebooks``, and store what they print in them. ``make docs`` runs it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent / "notebooks"


def main() -> None:
    """Run each notebook."""
    for file in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = nbformat.writes(executed(file))  # type: ignore[no-untyped-call]  # it is partly typed
        file.write_text(text + "\n", encoding="utf-8")


def executed(file: Path) -> Any:
    """The notebook with its outputs, run from its first cell in an empty folder by a new kernel, with an empty cache.

    Args:
        file: the notebook, which is not changed.

    Returns:
        The notebook as nbformat has it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
    """
    text = file.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]  # it is partly typed
    with tempfile.TemporaryDirectory(prefix="cnnreg-") as folder:
        client = NotebookClient(notebook, timeout=120, coalesce_streams=True, record_timing=False)
        client.execute(cwd=folder, env={**os.environ, "CNNREG_CACHE": str(Path(folder, "cache"))})
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    return notebook


if __name__ == "__main__":
    main()
