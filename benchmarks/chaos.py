"""Kill a training run again and again, and test that its result is the same as without kills.

    python -m benchmarks.chaos --kills 50 --flips 1000

One run trains LeNet-5 on handwritten digits undisturbed. A second, with the same arguments, is killed with SIGKILL at
random times and resumed each time. Then a checkpoint that a kill left is damaged, one bit at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cnn_registry.data.pipeline.batches import steps_per_epoch
from cnn_registry.runs.history import read_history
from cnn_registry.runs.machine import machine, versions
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import ArraySpec, Layout
from cnn_registry.system.progress import note

RESULT = Path(__file__).parent / "results" / "chaos.json"

SETTINGS: dict[str, object] = {
    "batch_size": 128,
    "image_size": 32,
    "ema": 1,
    "deterministic": "true",
}
"""These include averaged weights. ``tests/test_resumption.py`` covers dropout, which also has a state."""

PYTHON = [sys.executable]
TRAIN = ["-m", "cnn_registry", "train"]
KEPT = "damaged"
"""The folder, beside the runs, of the copy whose checkpoint is damaged."""

MINUTES = ["--checkpoint-minutes", "0.02"]
RESUMED = [*TRAIN, *MINUTES]


def main() -> None:
    """Run all parts and write ``benchmarks/results/chaos.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--patience", type=int, default=100, help="patience of early stopping")
    parser.add_argument("--model", default="lenet5")
    parser.add_argument("--within", type=float, default=4.0, help="maximum seconds of training before a kill")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cnnreg-chaos-") as name:
        folder, rng = Path(name), random.Random(0)
        command = training(arguments.model, {"epochs": arguments.epochs, "early_stopping.patience": arguments.patience})
        undisturbed, seconds = left_alone(command, folder / "undisturbed")
        disturbed, kills = killed(command, folder / "disturbed", arguments.kills, arguments.within, rng)
        difference = differences(undisturbed, disturbed)
        flips = flipped(left_behind(command, folder), arguments.flips, rng)
        result = {
            "command": " ".join(["python", "-m", "benchmarks.chaos", *sys.argv[1:]]),
            "training": " ".join(["cnnreg", *command[2:]]),
            "versions": versions(),
            "machine": machine(),
            "seconds_undisturbed": round(seconds, 1),
            "kills": kills,
            "epochs": len(read_history(disturbed.history_csv)),
            "status": disturbed.record.status,
            "differences": difference,
            "flips": flips,
        }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    note(f"{len(kills)} kills, {len(difference)} differences; {flips['detected']} of {flips['made']} flips detected")
    if difference or flips["detected"] != flips["made"]:
        sys.exit(1)


def training(model: str, settings: dict[str, int]) -> list[str]:
    """The command of all runs, without their output folder."""
    assignments = [part for key, value in (SETTINGS | settings).items() for part in ("--set", f"{key}={value}")]
    return [*TRAIN, model, "--dataset", "digits", *assignments, *MINUTES]


def left_alone(command: list[str], out: Path) -> tuple[Run, float]:
    """Train without kills, and return the run and its duration in seconds."""
    began = time.monotonic()
    subprocess.run(
        [*PYTHON, *command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return only_run(out), time.monotonic() - began


def killed(
    command: list[str], out: Path, kills: int, within: float, rng: random.Random
) -> tuple[Run, list[dict[str, Any]]]:
    """Kill a run ``kills`` times, each time at a random time, and resume it until it ends."""
    done: list[dict[str, Any]] = []
    while True:
        runs = list(out.glob("*/run.json"))
        where = ["--resume", str(runs[0].parent)] if runs else ["--out", str(out)]
        process = subprocess.Popen(
            [*PYTHON, *(RESUMED if runs else command), *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        if len(done) < kills:
            for line in process.stderr:
                if " training and " in line or " resumes in " in line:  # it is about to train
                    break
            wait = rng.uniform(0, within)
            try:
                process.communicate(timeout=wait)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                done.append({"after_seconds": round(wait, 2), "step": latest_step(out)})
                if done[-1]["step"] and not (kept := out.parent / KEPT).exists():
                    shutil.copytree(out, kept)
                note(f"kill {len(done)}: after {wait:.1f} s, latest checkpoint at step {done[-1]['step']}")
                continue
        else:
            process.communicate()
        if process.returncode:
            raise SystemExit(f"Training exited with code {process.returncode}.")
        return only_run(out), done


def left_behind(command: list[str], folder: Path) -> Path:
    """The first checkpoint that a kill left; if none left one, that of a run that is killed as soon as it has one."""
    out = folder / KEPT
    if kept := sorted(out.glob("*/checkpoints/step-*")):
        return kept[0]
    process = subprocess.Popen(
        [*PYTHON, *command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (found := sorted(out.glob("*/checkpoints/step-*"))):
        time.sleep(0.05)
    process.kill()
    process.wait()
    return found[0]


def only_run(out: Path) -> Run:
    """The one run in a folder."""
    [file] = out.glob("*/run.json")
    return Run.open(file.parent)


def latest_step(out: Path) -> int:
    """The step of the latest checkpoint, or 0 without one."""
    return max((int(path.name[5:]) for path in out.glob("*/checkpoints/step-*")), default=0)


def differences(one: Run, other: Run) -> list[str]:
    """The parts of two runs that differ in any bit, times excepted."""
    found = [] if one.record.status == other.record.status else ["status"]
    timed = ("seconds", "images_per_second")
    histories = [
        [
            {key: value for key, value in asdict(row).items() if key not in timed}
            for row in read_history(run.history_csv)
        ]
        for run in (one, other)
    ]
    found += [] if histories[0] == histories[1] else ["history"]
    for name in ("best_weights", "last_weights"):
        ours, theirs = (arrays(getattr(run, name)) for run in (one, other))
        same = len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))
        found += [] if same else [name]
    return found


def arrays(path: Path) -> list[np.ndarray]:
    """All arrays in a weights file, in the order of their names."""
    found: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def flipped(checkpoint: Path, flips: int, rng: random.Random) -> dict[str, int]:
    """Count how many of ``flips`` random bit flips in a checkpoint are detected. Each is undone before the next."""
    run = Run.open(checkpoint.parents[1])
    checkpoints, layout = run.checkpoints, recorded_layout(run, checkpoint)
    for other in checkpoint.parent.iterdir():
        if other != checkpoint:
            shutil.rmtree(other)
    files = sorted(checkpoint.iterdir())
    detected = 0
    for _ in range(flips):
        file = rng.choice(files)
        position, bit = rng.randrange(file.stat().st_size), 1 << rng.randrange(8)
        flip(file, position, bit)
        with contextlib.redirect_stderr(io.StringIO()):  # each flip prints a warning
            detected += checkpoints.latest(layout) is None
        flip(file, position, bit)
    assert checkpoints.latest(layout) is not None
    return {"made": flips, "detected": detected}


def recorded_layout(run: Run, checkpoint: Path) -> Layout:
    """What a checkpoint says that it holds."""
    groups = json.loads((checkpoint / "state.json").read_text())["variables"]
    specs = {name: [ArraySpec(path, tuple(shape), kind) for path, shape, kind in groups[name]] for name in groups}
    del specs["metrics"]  # which are not part of it
    return Layout(steps_per_epoch(len(run.record.split.train), run.record.recipe.batch_size), specs)


def flip(file: Path, position: int, bit: int) -> None:
    """Flip one bit of a file."""
    with file.open("r+b") as content:
        content.seek(position)
        [byte] = content.read(1)
        content.seek(position)
        content.write(bytes([byte ^ bit]))


if __name__ == "__main__":
    main()
