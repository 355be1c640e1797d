"""``cnnreg train --dry-run`` refuses what the training itself refuses at its beginning, with the same line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry import backend, get_spec
from cnn_registry.data import ImageDataset, register_dataset
from cnn_registry.data.digits import digits
from cnn_registry.training.options import RunOptions
from cnn_registry.workflows.plan import Request
from cnn_registry.workflows.train import dry_run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

keras = backend.keras()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--callback", "keras.callbacks:BackupAndRestore,backup_dir=kept"], "BackupAndRestore would put weights of"),
        (["--callback", "keras.callbacks:ReduceLROnPlateau"], "ReduceLROnPlateau sets the learning rate, which"),
        (["--freeze", "stage7"], "stage7"),
        (["--set", "fine_tuning.weights=nowhere.h5"], "nowhere.h5"),
        (["--distribute", "multiworker"], "--distribute multiworker needs TF_CONFIG"),
        (["--set", "accumulate=4", "--set", "time_limit=1h", "--distribute", "mirrored"], "needs two GPUs or more"),
    ],
)
def test_what_a_training_refuses_is_refused(
    cnnreg: Cnnreg,
    tiny: str,
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", tiny, "--data", colours, "--set", "image_size=16", "--set", "batch_size=8", *options]
    ended = [cnnreg(*command, *more) for more in ([], ["--dry-run"])]
    assert ended[0].err.splitlines()[-1] == ended[1].err.splitlines()[-1]
    assert message in ended[1].err
    assert [found.code for found in ended] == [ended[0].code] * 2
    assert ended[1].code != 0
    assert not (tmp_path / "runs").exists()


def test_another_backend_is_refused(cnnreg: Cnnreg, tiny: str, colours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    ended = cnnreg("train", tiny, "--data", colours, "--dry-run")
    assert ended.code == 1
    assert ended.err.startswith("Error: Training and evaluation need Keras on TensorFlow, but its backend is 'jax'")


def test_a_deprecated_dataset_is_looked_up_with_one_warning(tiny: str) -> None:
    @register_dataset(
        summary="Digits", num_classes=10, num_images=1797, image_size=8, deprecated_aliases=("old_numbers",)
    )
    def numbers(source: Path | None) -> ImageDataset:
        return digits(source)

    request = Request(get_spec(tiny), dataset="old_numbers")
    with pytest.warns(FutureWarning, match="old_numbers") as seen:
        dry_run(request, RunOptions(), "none")
    assert [warning.filename for warning in seen] == [__file__]


def test_nothing_is_written(
    cnnreg: Cnnreg, tiny: str, colours: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cnnreg("train", tiny, "--data", colours, "--set", "image_size=16", "--set", "batch_size=8", "--dry-run")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("tiny on colours: ")
    assert not (tmp_path / "runs").exists()
    assert {folder.name for folder in own_cache.glob("*")} <= {"plugins"}, "decoded images are not kept"
