"""Compare what 1, 2 and 4 processes train, and what is resumed by another number of them.

    python -m benchmarks.workers

A small network that has everything that sees more than one image (batch normalisation, dropout, an auxiliary head,
regularisation) is trained on the handwritten digits, with clipping, averaged weights, mixup, cutmix, label smoothing,
rates of their own for each layer, and a last batch that neither 2 nor 4 divide. The processes are those of ``cnnreg
launch``. "Statistics of each" have no equal in one process; they are compared with as many devices of one process
(``--distribute mirrored``), which other code computes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cnn_registry
from benchmarks.chaos import arrays, only_run
from benchmarks.common import Facts, begin, save
from benchmarks.workers_model import parts
from cnn_registry.runs.history import read_history
from cnn_registry.runs.run import Run
from cnn_registry.system.launch import launched

NUMBERS = (1, 2, 4)

EVERYTHING: dict[str, Any] = {
    "batch_size": 182,
    "epochs": 3,
    "optimizer.learning_rate": 0.02,
    "optimizer.clipnorm": 0.5,
    "ema": 0.1,
    "label_smoothing": 0.1,
    "mixing.mixup": 0.4,
    "mixing.cutmix": 1.0,
    "augmentation.rotation": 10.0,
    "augmentation.flip": True,
    "class_weights": "balanced",
    "fine_tuning.layer_decay": 0.8,
    "model.aux_heads": True,
    "precision": "float32",
    "deterministic": True,
}
"""1,437 images are 7 batches of 182 and one of 163."""

TRAININGS: dict[str, dict[str, Any]] = {
    "everything": {},
    "everything, accumulate = 3": {"accumulate": 3},
    "validation of 360 images in batches of 7": {
        "batch_size": 7,
        "epochs": 1,
        "optimizer.learning_rate": 1e-12,
        "ema": None,
    },
}

OWN_STATISTICS = "everything, statistics of each"

STOPPED = "everything, stopped in epoch 2"


def train(folder: Path, name: str, settings: dict[str, Any], distribute: str, callbacks: Any = ()) -> None:
    """Train into a folder of that name."""
    cnn_registry.train(
        parts.__name__,
        dataset="digits",
        settings={key: value for key, value in (EVERYTHING | settings).items() if value is not None},
        out=folder / name,
        report=False,
        distribute=distribute,  # type: ignore[arg-type]  # one of its words
        callbacks=callbacks,
    )


def side(what: str, folder: Path) -> None:
    """What each process does: all trainings, those on several devices, or the resumption of one that was stopped."""
    if what == "devices":
        import tensorflow as tf

        number = int(folder.name)
        [cpu] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
        train(folder, "devices", {"sync_batch_norm": False}, "mirrored")
    elif what == "resume":
        run = next(iter((folder / STOPPED).iterdir()), None)
        cnn_registry.resume(run or folder, report=False)
    else:
        for name, settings in TRAININGS.items():
            train(folder, name, settings, "auto")
        if folder.name != "1":
            train(folder, OWN_STATISTICS, {"sync_batch_norm": False}, "auto")
        if folder.name == "2":
            train(folder, STOPPED, {}, "auto", [_stop_at(11)])


def _stop_at(step: int) -> Any:
    """A callback that ends the training as SIGTERM does."""
    import keras

    class Stop(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            if self.steps == step:
                os.kill(os.getpid(), signal.SIGTERM)

    return Stop()


def compared(one: Run, other: Run) -> Facts:
    """How far apart two runs are: losses relatively, accuracies and weights absolutely."""
    ours, theirs = (read_history(run.history_csv) for run in (one, other))
    assert len(ours) == len(theirs)
    pairs = list(zip(ours, theirs, strict=True))

    def largest(of: Callable[[Any], float], relative: bool) -> float:
        return max(abs(of(a) - of(b)) / (abs(of(a)) if relative else 1) for a, b in pairs)

    weights = list(zip(*(arrays(run.last_weights) for run in (one, other)), strict=True))
    return {
        "loss": largest(lambda row: row.loss, True),
        "val_loss": largest(lambda row: row.val_loss, True),
        "accuracy": largest(lambda row: row.accuracy, False),
        "val_accuracy": largest(lambda row: row.val_accuracy, False),
        "weights": max(float(np.abs(a - b).max()) for a, b in weights),
    }


def main() -> None:
    """Train everything, print the table, and write ``benchmarks/results/workers.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        side(asked.side[0], Path(asked.side[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)

        def run_side(what: str, folder: Path, number: int) -> None:
            folder.mkdir(exist_ok=True, parents=True)
            if launched([sys.executable, "-m", "benchmarks.workers", "--side", what, str(folder)], number) not in (
                0,
                143,
            ):
                raise SystemExit(f"{what} of {number} processes failed.")

        facts: Facts = begin() | {"rows": []}
        for number in NUMBERS:
            run_side("train", root / str(number), number)
        for number in NUMBERS[1:]:
            run_side("devices", root / "devices" / str(number), 1)
        for number in NUMBERS:
            shutil.copytree(root / "2" / STOPPED, root / "resumed" / str(number) / STOPPED)
            run_side("resume", root / "resumed" / str(number), number)

        def add(training: str, first: str, second: str, one: Path, other: Path) -> None:
            row = {"training": training, "one": first, "other": second} | compared(only_run(one), only_run(other))
            print(json.dumps(row), flush=True)
            facts["rows"].append(row)

        for training in TRAININGS:
            for number in NUMBERS[1:]:
                add(training, "1 process", f"{number} processes", root / "1" / training, root / str(number) / training)
        for number in NUMBERS[1:]:
            devices = root / "devices" / str(number) / "devices"
            add(
                OWN_STATISTICS, f"{number} devices", f"{number} processes", devices, root / str(number) / OWN_STATISTICS
            )
        for number in (2, 1, 4):
            words = f"2 processes, then {number}"
            add(STOPPED, "2 processes", words, root / "2" / "everything", root / "resumed" / str(number) / STOPPED)
    save("workers", facts)


if __name__ == "__main__":
    main()
