"""The history of a training, in memory and as CSV."""

from __future__ import annotations

import math
from pathlib import Path

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
