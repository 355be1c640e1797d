"""The history of a training, in memory and as CSV."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cnn_registry.runs.history import Epoch, best_epoch, csv_text, read_history


def epoch(number: int, val_loss: float) -> Epoch:
    return Epoch(number, 1.5, 0.25, val_loss, 0.5, 0.1, 2.0, 16.0)


def test_csv_round_trip(tmp_path: Path) -> None:
    history = [epoch(1, 2.0), epoch(2, 0.125)]
    file = tmp_path / "history.csv"
    file.write_text(csv_text(history))
    assert read_history(file) == history
    assert file.read_text().splitlines()[0] == (
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds,images_per_second"
    )


def test_the_best_epoch_has_the_lowest_validation_loss() -> None:
    assert best_epoch([epoch(1, 2.0), epoch(2, 1.0), epoch(3, 1.0), epoch(4, math.nan)]).epoch == 2


def test_without_a_number_the_first_epoch_is_the_best() -> None:
    assert best_epoch([epoch(1, math.nan), epoch(2, math.nan)]).epoch == 1


@pytest.mark.parametrize("epochs", [1, 80, 600, 1000])
@pytest.mark.parametrize("loss", [0.0001, 2.34567, 98.76, 12345.6, 1e30, math.nan, math.inf])
def test_the_line_of_an_epoch_fits_a_terminal(epochs: int, loss: float) -> None:
    line = Epoch(epochs, loss, 0.98765, loss, 1.0, 1.25e-5, 12345.0, 12345.6).line(epochs)
    assert line.startswith(f"epoch {epochs}/{epochs}  loss ")
    assert len(line) <= 80


def test_the_line_of_an_epoch_has_as_much_as_fits() -> None:
    row = Epoch(7, 2.34567, 0.98765, 2.5, 1.0, 1.25e-5, 123.0, 1234.56)
    assert row.line(80) == "epoch 7/80  loss 2.3457  accuracy 0.9877  val_loss 2.5000  val_accuracy 1.0000"
    assert row.line(1000) == "epoch 7/1000  loss 2.346  accuracy 0.988  val_loss 2.500  val_accuracy 1.000"
    assert row.line(80, 120) == row.line(80) + "  rate 1.3e-05  1234.6 images/s  123 s"
