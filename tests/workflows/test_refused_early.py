"""What is mistyped is refused before Keras is imported, and a split that cannot be drawn before images are read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cnn_registry import train
from cnn_registry.errors import DataError, UsageError

ASKED = """
import json, sys
from cnn_registry import errors, find_learning_rate, train

said = []
for ask, request in (
    (train, {"data": "nowhere"}),
    (train, {"data": "nowhere.csv"}),
    (train, {"dataset": "digit"}),
    (train, {"dataset": "digits", "recipe": "defualt"}),
    (train, {"dataset": "digits", "settings": {"lr": 1}}),
    (find_learning_rate, {"data": "nowhere"}),
):
    try:
        ask("lenet5", **request)
    except errors.CnnRegistryError as error:
        said.append(str(error))
print(json.dumps({"said": said, "keras": "keras" in sys.modules}))
"""


def test_what_is_mistyped_is_refused_before_keras_is_imported(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    expected = ("no folder nowhere", "nowhere.csv", "no dataset 'digit'", "no recipe 'defualt'", "no setting 'lr'")
    assert len(found["said"]) == len(expected) + 1
    for part, sentence in zip((*expected, expected[0]), found["said"], strict=True):
        assert part in sentence
    assert not found["keras"]
    assert not list(tmp_path.iterdir())


def test_a_split_that_cannot_be_drawn_is_refused_before_images_are_read(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match="'cats' has 1 image, too few to hold out 20%"):
        train("lenet5", data=tmp_path / "pictures", out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan"), float("inf"), True, "10"])
def test_minutes_between_checkpoints_are_a_positive_number(tmp_path: Path, minutes: Any) -> None:
    with pytest.raises(UsageError, match=rf"checkpoint_minutes must be a number( greater than 0)?; got {minutes!r}"):
        train("lenet5", dataset="digits", out=tmp_path / "runs", checkpoint_minutes=minutes)
    assert not (tmp_path / "runs").exists()
