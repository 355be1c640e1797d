"""Measure the time from the start of Python to the end of the first training step, BN-Inception at 128 pixels.

    python -m benchmarks.first_step

Plain Keras is the network as in a script, compiled and trained by `fit` on images in memory. Ours is `Fit`
with the library's pipeline, with the recipes ``article`` (Adam, the same network) and ``default`` (SGD).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .common import DEFAULT_FLAGS, Facts, begin, environment, flags, model_record, random_pixels, save

MODEL, SIZE, BATCH = "inception_v2", 128, 32

RECIPES = {"adam": "article", "sgd": "default"}
"""The measured optimizers, and the recipes that use them."""


def plain_side(optimizer: str) -> None:
    """The first step of a script without the library."""
    import keras

    from . import plain

    images = random_pixels(2 * BATCH, SIZE)
    x = images.source.read(np.arange(2 * BATCH)) / np.float32(255)
    sgd = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True) if optimizer == "sgd" else None
    network = plain.compiled(MODEL, SIZE, sgd)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=_first_step_has_ended)
    network.fit(x, images.dataset.labels, batch_size=BATCH, verbose=0, callbacks=[callback])


def our_side(optimizer: str) -> None:
    """The first step of `train`, once the images are decoded."""
    from cnn_registry import backend, get_spec
    from cnn_registry.data.dataset import Split
    from cnn_registry.runs.record import RunRecord
    from cnn_registry.runs.run import Run
    from cnn_registry.training.fit import Fit, Images
    from cnn_registry.training.options import RunOptions
    from cnn_registry.workflows.plan import chosen_recipe, settled

    spec, images = get_spec(MODEL), random_pixels(2 * BATCH, SIZE)
    chosen = chosen_recipe(spec, RECIPES[optimizer], {"batch_size": BATCH, "epochs": 1})
    recipe = settled(chosen, spec, images.dataset).recipe
    every = np.arange(2 * BATCH)
    form = model_record(spec, SIZE, recipe.model)
    fit = Fit(spec, form, recipe, Images(images, images), Split(every, every, every[:0]))
    callback = backend.keras().callbacks.LambdaCallback(on_train_batch_end=_first_step_has_ended)
    with TemporaryDirectory() as directory:
        run = Run(Path(directory), RunRecord.model_construct())
        fit.train(run, RunOptions([callback]))


def _first_step_has_ended(batch: int, logs: Any) -> None:
    print(json.dumps({"cpu": time.process_time(), "flags": flags()}), flush=True)


SIDES = {"plain": plain_side, "ours": our_side}


def wait(side: str, optimizer: str) -> Facts:
    """Wall time from the start of a process to the end of its first step, its CPU time, and its flags."""
    variables = DEFAULT_FLAGS if side == "plain" else {}
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.first_step", "--side", side, "--optimizer", optimizer]
    with subprocess.Popen(command, env=environment(variables), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        passed = time.perf_counter() - began
        process.kill()
    if not line:
        raise SystemExit(f"{' '.join(command)} did not take a step.")
    return {"seconds": passed, **json.loads(line)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="alternating measurements of each side (default: 3)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--optimizer", choices=RECIPES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        SIDES[asked.side](asked.optimizer)
        return
    facts: Facts = begin() | {"model": MODEL, "size": SIZE, "batch_size": BATCH, "rows": [], "flags": {}}
    for optimizer in RECIPES:
        measured: dict[str, list[Facts]] = {side: [] for side in SIDES}
        for _ in range(asked.rounds):
            for side in SIDES:
                measured[side].append(wait(side, optimizer))
        row: Facts = {"optimizer": optimizer, "recipe": RECIPES[optimizer]}
        for side, waits in measured.items():
            row[side] = [round(found["seconds"], 2) for found in waits]
            row[f"{side}_cpu"] = [round(found["cpu"], 2) for found in waits]
            facts["flags"][side] = waits[-1]["flags"]
        facts["rows"].append(row)
        print(json.dumps(row), file=sys.stderr)
        save("first_step", facts)


if __name__ == "__main__":
    main()
