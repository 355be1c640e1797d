"""The plots, as far as a program can judge them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_registry.report.plots import plot_confusion, plot_curves
from cnn_registry.runs.history import Epoch


def history(epochs: int, val_loss: float = 1.0) -> list[Epoch]:
    return [Epoch(n, 1 / n, 1 - 1 / n, val_loss, 0.5, 0.1, 1.0, 9.0) for n in range(1, epochs + 1)]


def colours_in(path: Path) -> int:
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(2**24) or [])


@pytest.mark.parametrize(("epochs", "val_loss"), [(1, 1.0), (30, 1.0), (3, math.nan), (3, 1e30)])
def test_curves_of_any_history(tmp_path: Path, epochs: int, val_loss: float) -> None:
    plot_curves(history(epochs, val_loss), tmp_path / "curves.png", title="a $ title")
    assert colours_in(tmp_path / "curves.png") > 10


@pytest.mark.parametrize("classes", [2, 17, 200])
def test_confusion_of_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    names = [f"class $_{number}^{{" for number in range(classes)]
    plot_confusion(np.eye(classes, dtype=int), names, tmp_path / "confusion.png", title="title")
    with Image.open(tmp_path / "confusion.png") as image:
        assert max(image.size) <= 16 * 110
    assert colours_in(tmp_path / "confusion.png") > 10


def test_pictures_leave_no_other_file(tmp_path: Path) -> None:
    plot_curves(history(2), tmp_path / "curves.png", title="title")
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
